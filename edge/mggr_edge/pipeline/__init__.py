"""Gaze redirection of one frame: from the input frame to the redirected frame."""
