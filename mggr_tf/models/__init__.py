"""Build the networks of MGGR (arXiv 2004.03064), of the baselines, and of perceptual losses."""
