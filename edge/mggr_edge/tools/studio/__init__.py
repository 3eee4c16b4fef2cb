"""A small web page on this machine, for seeing and setting gaze redirection without a terminal."""
