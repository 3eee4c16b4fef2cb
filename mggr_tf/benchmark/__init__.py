"""Compare redirection methods with equal training budgets, and write reports about runs.

An entrant is one of the trainings that a benchmark compares. `plan` defines the entrants, their
budgets and their data. `campaign` trains the entrants, and `scoring` scores them. `report` and
`pictures` present the results. `training_speed` measures the speed of training. `document` compares
two runs.
"""
