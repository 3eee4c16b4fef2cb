"""Labelled eye patches: reading, drawing, checking and pairing them."""
