"""Features over a corpus: harvest, streaming sketches, the store, exchange formats."""
