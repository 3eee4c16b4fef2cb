"""The eyes that models are calibrated and compared on."""
