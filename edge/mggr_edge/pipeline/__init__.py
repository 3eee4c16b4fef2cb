"""Redirect the gaze in one frame: from the input frame to the redirected frame."""
