"""Comparison of model files with their Keras models."""
