"""Cameras and network streams: the newest frame wins, and what is dropped is counted."""
