"""The http transport: a process that claims messages, posts them and settles the answers."""

from qctl.worker.loop import Mode, Worker
from qctl.worker.progress import Progress

__all__ = ["Mode", "Progress", "Worker"]
