"""Training: `step` does no I/O, `run_folder` alone writes, `stages` joins them."""
