"""How fast training is: its batches, its steps, and what the convolutions of a step take alone."""
