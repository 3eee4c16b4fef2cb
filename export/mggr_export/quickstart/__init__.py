"""`mggr-tf quickstart`: the whole workflow in a few minutes, with a report.

::

    cli -> journey   draw, train, export
             demo    portrait -> observe (device pipeline, target sweep, fits) -> videos, sheets
             report  texts and tables (prose), embedded pictures -> report.html
"""
