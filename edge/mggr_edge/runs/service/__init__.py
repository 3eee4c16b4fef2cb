"""What a program needs that is left switched on."""
