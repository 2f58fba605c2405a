"""The http transport: a process that claims messages, posts them and settles the answers."""

from qctl.worker.loop import Mode, Progress, Worker

__all__ = ["Mode", "Progress", "Worker"]
