"""Calculate angles, eye crops and gazemaps; this package uses only numpy and OpenCV."""
