"""Read and write picture and video files.

Each module imports an optional package only when the package is used. Therefore, pictures can be
processed on a machine without PyAV.
"""
