"""Benchmark of redirection methods with equal training budgets, and reports about runs.

`plan` defines the entrants (the trainings that are compared), their budgets and their data.
`campaign` trains the missing entrants and `scoring` scores them. `report` and `pictures` present
the results. `training_speed` measures the speed of training, and `document` compares two runs.
"""
