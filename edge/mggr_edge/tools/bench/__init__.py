"""Measure the speed of the models of a bundle on this machine, on every installed runtime."""
