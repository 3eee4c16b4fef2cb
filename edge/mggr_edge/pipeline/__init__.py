"""One frame: from picture to redirected picture."""
