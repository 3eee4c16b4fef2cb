"""Starting the workers of one training: all of them here, or one on each of several machines."""
