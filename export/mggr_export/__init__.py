"""Freezes, quantises, converts, verifies and bundles what was trained."""
