"""The benchmark: every method on an equal budget, one table.

`entrants` says who takes part, `plan` what is trained for how long, `campaign`
trains and scores what is not there yet, `report` and `pictures` show it.
"""
