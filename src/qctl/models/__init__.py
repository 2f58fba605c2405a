"""Rows as they come back from the database: JSON keys, model fields and SQL columns have the same names.

Each is read with its module when it is first asked for: a command uses a few of the seventy, and each takes half a
millisecond to make.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qctl.models.arming import Armed as Armed
    from qctl.models.arming import Arming as Arming
    from qctl.models.arming import ArmingPreview as ArmingPreview
    from qctl.models.arming import ArmingState as ArmingState
    from qctl.models.arming import Disarming as Disarming
    from qctl.models.arming import WouldSend as WouldSend
    from qctl.models.attachments import AdoptedWebhook as AdoptedWebhook
    from qctl.models.attachments import AttachedTrigger as AttachedTrigger
    from qctl.models.attachments import Attachment as Attachment
    from qctl.models.attachments import DetachedTrigger as DetachedTrigger
    from qctl.models.attachments import ReleasedEvents as ReleasedEvents
    from qctl.models.attempts import Attempt as Attempt
    from qctl.models.attempts import AttemptTotal as AttemptTotal
    from qctl.models.backfill import Backfill as Backfill
    from qctl.models.backfill import BackfillBegun as BackfillBegun
    from qctl.models.backfill import BackfillPage as BackfillPage
    from qctl.models.backfill import BackfillPreview as BackfillPreview
    from qctl.models.backfill import BackfillSet as BackfillSet
    from qctl.models.capacity import Capacity as Capacity
    from qctl.models.capacity import DatabaseShare as DatabaseShare
    from qctl.models.capacity import Job as Job
    from qctl.models.capacity import JobChange as JobChange
    from qctl.models.capacity import Plan as Plan
    from qctl.models.capacity import RunningJob as RunningJob
    from qctl.models.capacity import Sizing as Sizing
    from qctl.models.config import Setting as Setting
    from qctl.models.copies import CopiesBegin as CopiesBegin
    from qctl.models.copies import Copy as Copy
    from qctl.models.edge import EdgeScaled as EdgeScaled
    from qctl.models.edge import EdgeSet as EdgeSet
    from qctl.models.edge import EdgeStatus as EdgeStatus
    from qctl.models.edge import EdgeStopped as EdgeStopped
    from qctl.models.events import EventRoute as EventRoute
    from qctl.models.events import EventRouteSet as EventRouteSet
    from qctl.models.grants import Granted as Granted
    from qctl.models.grants import Revoked as Revoked
    from qctl.models.health import Cause as Cause
    from qctl.models.health import Diagnosis as Diagnosis
    from qctl.models.health import Finding as Finding
    from qctl.models.health import Problem as Problem
    from qctl.models.health import Stop as Stop
    from qctl.models.label import Label as Label
    from qctl.models.label import LabelSet as LabelSet
    from qctl.models.manifest import PlannedChange as PlannedChange
    from qctl.models.manifest import Undeclared as Undeclared
    from qctl.models.messages import DeadGroup as DeadGroup
    from qctl.models.messages import LifeEvent as LifeEvent
    from qctl.models.messages import Message as Message
    from qctl.models.messages import MessageListed as MessageListed
    from qctl.models.messages import Payload as Payload
    from qctl.models.messages import Replayed as Replayed
    from qctl.models.messages import ReplayedMessage as ReplayedMessage
    from qctl.models.messages import SentMessage as SentMessage
    from qctl.models.messages import SentOnce as SentOnce
    from qctl.models.migrate import Difference as Difference
    from qctl.models.migrate import Remains as Remains
    from qctl.models.migrate import Repaired as Repaired
    from qctl.models.migrate import Step as Step
    from qctl.models.partitions import DroppedPartitions as DroppedPartitions
    from qctl.models.partitions import Partitioned as Partitioned
    from qctl.models.payload_types import PayloadTypes as PayloadTypes
    from qctl.models.purge import ArchiveSize as ArchiveSize
    from qctl.models.purge import Exported as Exported
    from qctl.models.purge import Leftovers as Leftovers
    from qctl.models.purge import Purgeable as Purgeable
    from qctl.models.purge import Purged as Purged
    from qctl.models.purge import PurgedBatch as PurgedBatch
    from qctl.models.purge import PurgedSome as PurgedSome
    from qctl.models.queues import Answers as Answers
    from qctl.models.queues import CreatedQueue as CreatedQueue
    from qctl.models.queues import Depth as Depth
    from qctl.models.queues import DroppedQueue as DroppedQueue
    from qctl.models.queues import GivenUp as GivenUp
    from qctl.models.queues import Hour as Hour
    from qctl.models.queues import Lag as Lag
    from qctl.models.queues import OrderIndex as OrderIndex
    from qctl.models.queues import PauseState as PauseState
    from qctl.models.queues import Queue as Queue
    from qctl.models.queues import QueueListed as QueueListed
    from qctl.models.queues import Status as Status
    from qctl.models.queues import TransportChoice as TransportChoice
    from qctl.models.queues import Undelivered as Undelivered
    from qctl.models.rights import Rights as Rights
    from qctl.models.secrets import HeaderSecretGone as HeaderSecretGone
    from qctl.models.secrets import HeaderSecretSet as HeaderSecretSet
    from qctl.models.secrets import RevokedSecret as RevokedSecret
    from qctl.models.secrets import RotatedSecret as RotatedSecret
    from qctl.models.secrets import Secret as Secret
    from qctl.models.worker import Claimed as Claimed
    from qctl.models.worker import Settled as Settled
    from qctl.models.worker import Sleeper as Sleeper
    from qctl.models.worker import Upkeep as Upkeep
    from qctl.models.worker import WorkerState as WorkerState
    from qctl.models.worker import WorkQueue as WorkQueue

_MODULES = {
    "queues": "Queue QueueListed PauseState Status Hour Answers Depth Lag CreatedQueue OrderIndex TransportChoice"
    " Undelivered GivenUp DroppedQueue",
    "messages": "Message MessageListed Payload LifeEvent DeadGroup Replayed SentMessage SentOnce ReplayedMessage",
    "attempts": "Attempt AttemptTotal",
    "attachments": "Attachment AttachedTrigger AdoptedWebhook DetachedTrigger ReleasedEvents",
    "backfill": "Backfill BackfillBegun BackfillPage BackfillPreview BackfillSet",
    "payload_types": "PayloadTypes",
    "copies": "CopiesBegin Copy",
    "health": "Cause Problem Stop Finding Diagnosis",
    "grants": "Granted Revoked",
    "label": "Label LabelSet",
    "rights": "Rights",
    "config": "Setting",
    "arming": "Arming ArmingPreview ArmingState Disarming Armed WouldSend",
    "secrets": "RotatedSecret RevokedSecret HeaderSecretSet HeaderSecretGone Secret",
    "events": "EventRoute EventRouteSet",
    "manifest": "PlannedChange Undeclared",
    "migrate": "Step Difference Remains Repaired",
    "purge": "PurgedBatch Purged Exported PurgedSome Leftovers ArchiveSize Purgeable",
    "partitions": "Partitioned DroppedPartitions",
    "capacity": "Job JobChange RunningJob Capacity DatabaseShare Plan Sizing",
    "edge": "EdgeSet EdgeStopped EdgeScaled EdgeStatus",
    "worker": "Claimed Settled Upkeep Sleeper WorkQueue WorkerState",
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names.split():
            value = getattr(import_module(f"qctl.models.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(name)
