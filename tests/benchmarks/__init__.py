"""Benchmarks: ratios against a stated baseline, measured side by side in one run."""
