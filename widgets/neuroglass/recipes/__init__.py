"""Recipes: how what neuroglass ships or shows was made, each one a command that makes it again."""
