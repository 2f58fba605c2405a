"""The demo: a throw-away pipeline, its misbehaving endpoint, the embedded server."""
