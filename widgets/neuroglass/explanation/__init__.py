"""Explanations of features: written, simulated, scored, revised."""
