"""Train networks.

`step` updates the weights once, without input or output of files. `loop` runs many steps. `stages`
trains all stages of a run.
"""
