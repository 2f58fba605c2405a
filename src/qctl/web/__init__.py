"""A window for a browser: the same answers as the command line, because it asks the same operations."""
