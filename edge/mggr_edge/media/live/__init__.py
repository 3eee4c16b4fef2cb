"""Live sources and outputs. Only the newest frame is processed, and dropped frames are counted."""
