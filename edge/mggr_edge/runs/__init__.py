"""One run over a file, a folder or a live source."""
