"""The live model: loading, families, sites, capture and the worker that owns every forward pass."""
