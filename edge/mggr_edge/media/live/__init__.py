"""Live sources and outputs: only the newest frame is processed, and dropped frames are counted."""
