"""Faces and eyes in a frame."""
