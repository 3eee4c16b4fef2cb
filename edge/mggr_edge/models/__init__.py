"""Bundles, their contracts, and the runtimes that run their networks."""
