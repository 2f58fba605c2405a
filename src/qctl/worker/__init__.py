"""The http transport: a process that claims messages, posts them and settles the answers."""

from qctl.worker.loop import Mode, Worker
from qctl.worker.request import Egress
from qctl.worker.signals import stop_on_signals
from qctl.worker.supervisor import Supervisor
from qctl.worker.totals import Totals

__all__ = ["Egress", "Mode", "Supervisor", "Totals", "Worker", "stop_on_signals"]
