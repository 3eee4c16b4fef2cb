"""Size of the canonical eye patch."""

DEFAULT_CROP_FACTOR = 3.4
"""Side of the crop in radii of the circle around the outline of the eye."""
DEFAULT_SIZE_PX = 64
"""Side of the patch, which is square."""
