"""Read, validate, augment and pair labelled eye patches (images of one eye)."""
