"""Web page on this machine that shows gaze redirection and changes its settings."""
