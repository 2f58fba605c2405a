"""Rows as they come back from the database: JSON keys, model fields and SQL columns have the same names.

Each is read with its module when it is first asked for: a command uses a few of the seventy, and each takes half a millisecond
to make.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qctl.models.access import Granted as Granted
    from qctl.models.access import Label as Label
    from qctl.models.access import LabelSet as LabelSet
    from qctl.models.access import Revoked as Revoked
    from qctl.models.access import Setting as Setting
    from qctl.models.arming import Arming as Arming
    from qctl.models.arming import Disarming as Disarming
    from qctl.models.attachment import AdoptedWebhook as AdoptedWebhook
    from qctl.models.attachment import AttachedTrigger as AttachedTrigger
    from qctl.models.attachment import Attachment as Attachment
    from qctl.models.attachment import DetachedTrigger as DetachedTrigger
    from qctl.models.event import EventRoute as EventRoute
    from qctl.models.event import EventRouteSet as EventRouteSet
    from qctl.models.health import Diagnosis as Diagnosis
    from qctl.models.health import Problem as Problem
    from qctl.models.message import Attempt as Attempt
    from qctl.models.message import DeadGroup as DeadGroup
    from qctl.models.message import LifeEvent as LifeEvent
    from qctl.models.message import MeasuredAttempt as MeasuredAttempt
    from qctl.models.message import Message as Message
    from qctl.models.message import MessageListed as MessageListed
    from qctl.models.message import Payload as Payload
    from qctl.models.message import Replayed as Replayed
    from qctl.models.message import ReplayedMessage as ReplayedMessage
    from qctl.models.message import SentMessage as SentMessage
    from qctl.models.message import SentOnce as SentOnce
    from qctl.models.purge import ArchiveSize as ArchiveSize
    from qctl.models.purge import DroppedPartitions as DroppedPartitions
    from qctl.models.purge import Exported as Exported
    from qctl.models.purge import Leftovers as Leftovers
    from qctl.models.purge import Partitioned as Partitioned
    from qctl.models.purge import Purgeable as Purgeable
    from qctl.models.purge import Purged as Purged
    from qctl.models.purge import PurgedBatch as PurgedBatch
    from qctl.models.purge import PurgedSome as PurgedSome
    from qctl.models.scaling import Capacity as Capacity
    from qctl.models.scaling import Job as Job
    from qctl.models.scaling import JobChange as JobChange
    from qctl.models.scaling import Plan as Plan
    from qctl.models.scaling import RunningJob as RunningJob
    from qctl.models.scaling import Sizing as Sizing
    from qctl.models.secret import HeaderSecretGone as HeaderSecretGone
    from qctl.models.secret import HeaderSecretSet as HeaderSecretSet
    from qctl.models.secret import RevokedSecret as RevokedSecret
    from qctl.models.secret import RotatedSecret as RotatedSecret
    from qctl.models.secret import Secret as Secret
    from qctl.models.setup import CreatedQueue as CreatedQueue
    from qctl.models.setup import DroppedQueue as DroppedQueue
    from qctl.models.setup import Finding as Finding
    from qctl.models.setup import GivenUp as GivenUp
    from qctl.models.setup import PlannedChange as PlannedChange
    from qctl.models.setup import Remains as Remains
    from qctl.models.setup import Step as Step
    from qctl.models.setup import TransportChoice as TransportChoice
    from qctl.models.setup import Undeclared as Undeclared
    from qctl.models.setup import Undelivered as Undelivered
    from qctl.models.state import Armed as Armed
    from qctl.models.state import Depth as Depth
    from qctl.models.state import Hour as Hour
    from qctl.models.state import Lag as Lag
    from qctl.models.state import PauseState as PauseState
    from qctl.models.state import Queue as Queue
    from qctl.models.state import QueueListed as QueueListed
    from qctl.models.state import Status as Status
    from qctl.models.state import WorkerState as WorkerState
    from qctl.models.work import Claimed as Claimed
    from qctl.models.work import Settled as Settled
    from qctl.models.work import Sleeper as Sleeper
    from qctl.models.work import Upkeep as Upkeep
    from qctl.models.work import WorkQueue as WorkQueue

_MODULES = {
    "setup": "Step CreatedQueue TransportChoice PlannedChange Undeclared Undelivered GivenUp DroppedQueue Remains "
    "Finding",
    "state": "Queue QueueListed PauseState Status Hour Depth Lag WorkerState Armed",
    "arming": "Arming Disarming",
    "scaling": "Job JobChange RunningJob Capacity Plan Sizing",
    "secret": "RotatedSecret RevokedSecret HeaderSecretSet HeaderSecretGone Secret",
    "event": "EventRoute EventRouteSet",
    "attachment": "Attachment AttachedTrigger AdoptedWebhook DetachedTrigger",
    "health": "Problem Diagnosis",
    "access": "Granted Revoked Label LabelSet Setting",
    "message": "MeasuredAttempt Message MessageListed Payload LifeEvent DeadGroup Attempt Replayed SentMessage "
    "SentOnce ReplayedMessage",
    "purge": "PurgedBatch Purged Partitioned DroppedPartitions Exported PurgedSome Leftovers ArchiveSize Purgeable",
    "work": "Claimed Settled Upkeep Sleeper WorkQueue",
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names.split():
            value = getattr(import_module(f"qctl.models.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(name)
