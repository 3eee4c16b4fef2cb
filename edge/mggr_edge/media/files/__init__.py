"""Where frames come from and where they go: pictures and videos.

One file per kind. Each imports what it needs on its own, so that a machine
without PyAV still redirects pictures.
"""
