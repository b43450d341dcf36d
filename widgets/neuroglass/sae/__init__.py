"""Sparse dictionaries: maths, checkpoint formats, training, metrics, kernels."""
