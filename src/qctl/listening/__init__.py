"""Webhooks on a developer's machine: an endpoint that shows what comes, and live copies of a queue's messages."""
