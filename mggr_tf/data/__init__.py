"""Labelled eye patches: file formats, validation, synthesis, augmentation and pairing."""
