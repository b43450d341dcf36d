"""Features as others write them, and ours as they do."""
