"""Pictures: restoring files and arrays, their tasks, records and folders."""
