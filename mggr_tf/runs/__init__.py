"""Run folders: their files, records and locks, lists of runs, and the origin of their data."""
