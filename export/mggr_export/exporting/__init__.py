"""Export of a run folder to a verified bundle."""
