"""Networks of MGGR (arXiv 2004.03064) and of the baselines, and feature networks for losses."""
