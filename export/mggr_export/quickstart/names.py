"""Names of the files and folders in a quickstart's output folder."""

RUN = "run"
BUNDLES = {"float32": "bundle-float", "int8": "bundle-int8"}
"""Folder name of the bundle, by precision."""

PORTRAIT, REDIRECTED = "portrait.mp4", "redirected.mp4"
"""Video of the portrait before and after redirection, in full size."""

FACES_CLIP, EYES_CLIP = "side_by_side.mp4", "eyes.mp4"
"""Small videos that show the portrait before and after redirection together."""

STRIP_SHEET, STILLS_SHEET, CHART_SHEET = "eyes.png", "frames.png", "following.png"
REPORT = "report.html"
