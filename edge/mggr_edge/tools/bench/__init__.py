"""How fast a bundle's models run here, on every runtime that is installed."""
