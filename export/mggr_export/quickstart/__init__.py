"""`mggr-tf quickstart`: run the whole workflow in a few minutes, and write a report.

The modules are called in this order::

    cli -> journey   render synthetic eyes, train, export
             demo    redirect the portrait video, measure (observe), write videos and sheets
             report  combine texts and tables (prose) with pictures, write report.html

The constants are the names of the files and folders in the output folder of a quickstart.
"""

RUN = "run"
BUNDLES = {"float32": "bundle-float", "int8": "bundle-int8"}
"""Precision of a bundle -> folder name of the bundle."""

PORTRAIT, REDIRECTED = "portrait.mp4", "redirected.mp4"
"""Video of the portrait before and after redirection, in full size."""

FACES_CLIP, EYES_CLIP = "side_by_side.mp4", "eyes.mp4"
"""Small videos that show the portrait before and after redirection together."""

STRIP_SHEET, STILLS_SHEET, CHART_SHEET = "eyes.png", "frames.png", "following.png"
REPORT = "report.html"
