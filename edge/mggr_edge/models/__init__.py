"""Bundles and what runs their networks."""
