"""Speed of a bundle's models on this machine, on every installed runtime."""
