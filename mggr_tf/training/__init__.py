"""Training: `step` updates weights without I/O, `loop` runs the steps, `stages` trains a run."""
