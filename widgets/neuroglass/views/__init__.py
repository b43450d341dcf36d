"""The Python half of every widget, and what the widgets share."""
