"""Studio: a web page on this machine that shows the gaze redirection and changes its settings."""
