"""`mggr-tf quickstart`: the whole way in a few minutes, and a report about it.

::

    cli -> journey   draw, train, export
             demo    portrait -> observe (the device pipeline, sweep, following) -> films (sheets)
             report  tables, prose, embedding -> report.html
"""
