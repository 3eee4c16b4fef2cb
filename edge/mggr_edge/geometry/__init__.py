"""Angles, eye crops and gaze maps: numpy and OpenCV only."""
