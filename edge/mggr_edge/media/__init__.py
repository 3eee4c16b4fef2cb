"""Input and output of frames: files, cameras and network streams."""
