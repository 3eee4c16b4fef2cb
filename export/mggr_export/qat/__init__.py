"""Quantisation-aware training: a model's weights, fitted to the integers that will hold them."""
