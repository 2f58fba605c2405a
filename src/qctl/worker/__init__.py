"""The http transport: a process that claims messages, posts them and settles the answers."""

from qctl.worker.fleet import Fleet
from qctl.worker.loop import Mode, Worker
from qctl.worker.progress import Progress
from qctl.worker.request import Egress

__all__ = ["Egress", "Fleet", "Mode", "Progress", "Worker"]
