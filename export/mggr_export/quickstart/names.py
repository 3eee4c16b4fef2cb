"""Names of the files and folders in a quickstart's output folder."""

RUN = "run"
BUNDLES = {"float32": "bundle-float", "int8": "bundle-int8"}
"""Bundle folder by precision."""

PORTRAIT, REDIRECTED = "portrait.mp4", "redirected.mp4"
"""Whole video before and after redirection."""

FACES_CLIP, EYES_CLIP = "side_by_side.mp4", "eyes.mp4"
"""Small videos that show both versions."""

STRIP_SHEET, STILLS_SHEET, CHART_SHEET = "eyes.png", "frames.png", "following.png"
REPORT = "report.html"
