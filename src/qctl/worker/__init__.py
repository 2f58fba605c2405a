"""The http transport: a process that claims messages, posts them and settles the answers."""

from qctl.worker.loop import Mode, Worker
from qctl.worker.progress import Progress
from qctl.worker.request import Egress

__all__ = ["Egress", "Mode", "Progress", "Worker"]
