"""Reading and writing of picture and video files.

The modules import optional packages only on use, so that pictures can be processed on a machine
without PyAV.
"""
