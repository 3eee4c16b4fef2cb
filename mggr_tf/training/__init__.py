"""Training: `step` does no I/O, `run_folder` says where files of a run lie, `stages` joins them."""
