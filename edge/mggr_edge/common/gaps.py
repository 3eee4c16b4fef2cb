"""Gaps in time after which a picture has nothing to do with the one before."""

MAX_GAP_S = 0.5
