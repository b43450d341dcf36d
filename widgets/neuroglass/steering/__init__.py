"""Steering: strengths and their units, settings, side-by-side sessions and their readouts."""
