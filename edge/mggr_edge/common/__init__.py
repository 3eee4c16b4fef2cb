"""What the other rooms share, and nothing about eyes."""
