"""The loop that runs every solver: validation, hooks, cost, diagnostics and resuming."""
