"""The loop that every solver runs in, and what watches it."""
