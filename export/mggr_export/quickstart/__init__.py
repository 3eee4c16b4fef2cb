"""`mggr-tf quickstart`: run the whole workflow in a few minutes, and write a report.

The modules are called in this order::

    cli -> journey   render synthetic eyes, train, export
             demo    redirect the portrait video, measure (observe), write videos and sheets
             report  combine texts and tables (prose) with pictures, write report.html
"""
