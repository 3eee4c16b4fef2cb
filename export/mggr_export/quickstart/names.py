"""What a quickstart's folder holds."""

RUN = "run"
BUNDLES = {"float32": "bundle-float", "int8": "bundle-int8"}
"""Precision -> folder."""

PORTRAIT, REDIRECTED = "portrait.mp4", "redirected.mp4"
"""The clip as it was and as it became, whole."""

FACES_CLIP, EYES_CLIP = "side_by_side.mp4", "eyes.mp4"
"""Small clips with both."""

STRIP_SHEET, STILLS_SHEET, CHART_SHEET = "eyes.png", "frames.png", "following.png"
REPORT = "report.html"
