"""Eyes for the calibration and comparison of models."""
