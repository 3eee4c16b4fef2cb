"""What the other packages share, and nothing about eyes."""
