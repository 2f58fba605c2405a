"""Rows as they come back from the database: JSON keys, model fields and SQL columns have the same names."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Step:
    """One migration or routine file that an install or upgrade applied or would apply."""

    kind: str
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class CreatedQueue:
    """What ``create`` did; ``reason`` says why this transport."""

    queue_name: str
    created: bool
    waiting: int
    skipped: int
    transport: str
    reason: str
    switched_off: list[str]


@dataclass(frozen=True, slots=True)
class TransportChoice:
    """What a wanted transport comes to in this database, and why."""

    transport: str
    reason: str


@dataclass(frozen=True, slots=True)
class Arming:
    """Whether this database may deliver, and what ``arm`` did."""

    armed: bool
    changed: bool
    database: str
    system_identifier: str
    timeline: int
    survive_failover: bool
    armed_at: datetime
    armed_by: str


@dataclass(frozen=True, slots=True)
class Disarming:
    """What ``disarm`` did."""

    armed: bool
    changed: bool
    database: str


@dataclass(frozen=True, slots=True)
class Job:
    """One of our jobs in pg_cron."""

    job_id: int
    job_name: str
    schedule: str
    command: str
    active: bool
    owner: str


@dataclass(frozen=True, slots=True)
class JobChange:
    """What happened to a job: ``scheduled`` or ``unscheduled``."""

    job_name: str
    done: str


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A CALL of ``qctl.work`` that runs now: a shared worker with its slot, or a queue's own."""

    pid: int
    slot: int | None
    queue_id: int | None


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a queue can carry, in messages a second, and what limits it; latency in seconds."""

    queue_name: str
    transport: str
    workers: int
    dedicated: bool
    batch: int
    max_in_flight: int
    concurrency: int
    latency_s: float | None
    latency_p95_s: float | None
    measured: int
    ceiling_per_s: float
    limited_by: str
    hanging_per_s: float
    limits: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load, or so many ``times`` of it, needs: processes or jobs, settings, cores, messages and bytes of 30 days."""

    per_s: float
    transport: str
    workers: int
    concurrency: int
    batch: int
    max_in_flight: int
    in_flight: float
    database_cores: float
    worker_cores: float
    messages_per_month: float
    bytes_per_month: float
    reason: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Sizing:
    """The settings that a rate needs, or why it cannot be reached."""

    reachable: bool
    batch: int
    max_in_flight: int
    concurrency: int
    reason: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue and its delivery settings; durations by unit suffix, ``headers`` without secrets."""

    queue_id: int
    queue_uuid: UUID
    queue_name: str
    transport: str
    url: str
    headers: dict[str, str]
    timeout_ms: int
    concurrency: int
    max_in_flight: int
    retry_schedule_s: list[int]
    retry_jitter: float
    retry_after_max_s: int
    reject_after: int
    max_lost: int
    batch: int
    dedicated: bool
    trust_location: bool
    retention_s: int | None
    created_at: datetime
    created_by: str
    concurrency_auto: bool
    rate_per_s: float | None
    breaker_after: int
    breaker_share: float
    breaker_pause_max_s: int
    expect_text: str | None
    expect_json: Any
    ordered: bool
    order_schedule_s: list[int]
    on_dead: str
    net_secrets: bool
    signing_secrets: int
    allow_networks: list[str]


@dataclass(frozen=True, slots=True)
class RotatedSecret:
    """A new signing secret, the only time that it is shown; ``mark`` tells it apart later."""

    queue_name: str
    secret_id: int
    mark: str
    secret: str
    replaced: int
    replaced_until: datetime | None


@dataclass(frozen=True, slots=True)
class RevokedSecret:
    """A signing secret that signs no more."""

    queue_name: str
    secret_id: int
    mark: str
    left_signing: int


@dataclass(frozen=True, slots=True)
class HeaderSecretSet:
    """The name of a header's value that was kept, and the queues that send it."""

    name: str
    changed: bool
    used_by: list[str]


@dataclass(frozen=True, slots=True)
class HeaderSecretGone:
    """The name of a header's value that was forgotten."""

    name: str


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret, without the secret: ``kind`` is signing or header, ``there`` is false of one expired or only named."""

    kind: str
    name: str
    secret_id: int | None
    mark: str | None
    created_at: datetime | None
    created_by: str | None
    expires_at: datetime | None
    there: bool
    used_by: list[str]


@dataclass(frozen=True, slots=True)
class EventRoute:
    """The queue that operational events go into."""

    queue_name: str
    url: str
    throttle_s: int
    set_at: datetime
    set_by: str


@dataclass(frozen=True, slots=True)
class EventRouteSet:
    """Where events go from now on; None: nowhere. ``secret`` signs them, if it had to be made: shown this once."""

    queue_name: str | None
    throttle_s: int | None
    changed: bool
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class QueueListed:
    """One line of ``queues``."""

    queue_name: str
    transport: str
    url: str
    attached: int
    paused_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Attachment:
    """A table whose changes are captured, and whether its triggers are there."""

    relation: str
    queue_name: str
    operations: list[str]
    when_sql: str | None
    columns: list[str] | None
    payload: str
    unchanged: bool
    level: str
    replicated: bool
    on_error: str
    max_bytes: int
    order_by: str | None
    triggers: str
    runs_as: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AttachedTrigger:
    """One trigger that ``attach`` made."""

    relation: str
    queue_name: str
    operation: str
    trigger_name: str
    runs_as: str


@dataclass(frozen=True, slots=True)
class AdoptedWebhook:
    """A Supabase Database Webhook that was taken over."""

    queue_name: str
    created: bool
    relation: str
    trigger_name: str
    url: str
    transport: str
    operations: list[str]


@dataclass(frozen=True, slots=True)
class DetachedTrigger:
    """One trigger that ``detach`` dropped."""

    relation: str
    queue_name: str
    trigger_name: str


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """What ``apply`` would do: ``create``, ``change``, ``leave``, or nothing to what is ``extra``."""

    action: str
    kind: str
    object: str
    queue_name: str
    detail: str


@dataclass(frozen=True, slots=True)
class Undeclared:
    """A queue or an attachment that a file does not name."""

    kind: str
    name: str
    queue_name: str


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What would be given up with a queue; None where pgmq's table is gone."""

    queue_name: str
    unfinished: int | None
    dead: int
    archived: int | None
    attached: int


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What was moved to the archive before a drop."""

    discarded: int
    dead: int


@dataclass(frozen=True, slots=True)
class DroppedQueue:
    """What ``drop`` did; ``archive`` is the table that stays."""

    queue_name: str
    discarded: int
    dead: int
    archived: int | None
    archive: str | None


@dataclass(frozen=True, slots=True)
class Remains:
    """What ``uninstall`` leaves of a queue, in pgmq's tables."""

    queue_name: str
    unfinished: int | None
    archived: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that differs from what was installed, and what mends it."""

    kind: str
    object: str
    problem: str
    mend: str


@dataclass(frozen=True, slots=True)
class PauseState:
    """What ``pause`` or ``resume`` did; ``paused_at`` is since when it is, or was, paused."""

    queue_name: str
    changed: bool
    paused_at: datetime | None


@dataclass(frozen=True, slots=True)
class Status:
    """A queue now, as view ``qctl.status`` has it; None for what this role may not see.

    ``lag_s``, ``age_s``, ``p50_s`` and ``p95_s`` (from enqueued to delivered) and ``drain_s`` are seconds, ``growth_per_s``
    is messages a second. Where ``depth_exact`` is false the numbers by state are "at least".
    """

    queue_name: str
    health: str
    depth: int | None
    ready: int | None
    delayed: int | None
    in_flight: int | None
    retrying: int | None
    dead: int | None
    lag_s: float | None
    age_s: float | None
    delivered_1m: int
    failed_1m: int
    last_error: str | None
    paused_at: datetime | None
    paused_by: str | None
    pause_reason: str | None
    url: str
    transport: str
    since: datetime | None
    reason: str | None
    mend: str | None
    depth_exact: bool | None
    depth_estimate: int | None
    dead_1m: int
    delivered_1h: int
    failed_1h: int
    dead_1h: int
    p50_s: float | None
    p95_s: float | None
    growth_per_s: float | None
    drain_s: float | None
    last_delivered_at: datetime | None
    last_failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Hour:
    """Attempts of each minute of the last hour, the oldest first."""

    queue_name: str
    delivered: list[int]
    failed: list[int]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that ``check`` does not find well: a cause of the closed list or a limit that is passed."""

    queue_name: str
    cause: str
    since: datetime | None
    problem: str
    value: float | None
    limit: float | None
    mend: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What ``doctor`` found: ``broken``, ``warning`` or ``note``."""

    severity: str
    kind: str
    object: str
    problem: str
    mend: str


@dataclass(frozen=True, slots=True)
class Granted:
    """What a role may do now; ``changed`` is false where it already might."""

    role_name: str
    level: str
    payloads: bool
    changed: bool


@dataclass(frozen=True, slots=True)
class Label:
    """What people call the database; ``is_copy`` if it carries another's label, which then protects nothing."""

    label: str
    protected: bool
    is_copy: bool


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The label that the database has now, None for none."""

    label: str | None
    protected: bool
    changed: bool


@dataclass(frozen=True, slots=True)
class Armed:
    """Whether this database may deliver, and its clock."""

    armed: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class MeasuredAttempt:
    """Of an attempt what is counted; ``status_code`` None for no answer."""

    queue_name: str
    outcome: str
    status_code: int | None
    duration_ms: float | None


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of this tool and where it is from; never a password."""

    setting: str
    value: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Revoked:
    """Whether a role lost what it was granted."""

    role_name: str
    changed: bool


@dataclass(frozen=True, slots=True)
class Depth:
    """Unfinished messages of a queue by state; ``dead`` is not part of ``depth``.

    Above 100,000 ``exact`` is false: the numbers are "at least", ``estimate`` is PostgreSQL's own of the depth.
    """

    queue_name: str
    depth: int
    ready: int
    delayed: int
    in_flight: int
    retrying: int
    dead: int
    exact: bool
    estimate: int


@dataclass(frozen=True, slots=True)
class Lag:
    """Seconds the oldest ready message has waited, and the age in seconds of the oldest unfinished one."""

    queue_name: str
    lag_s: float | None
    age_s: float | None


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it stands now, wherever it is."""

    queue_name: str
    msg_id: int
    state: str
    webhook_id: str
    enqueued_at: datetime | None
    visible_at: datetime | None
    finished_at: datetime | None
    delivery_no: int
    attempts: int
    lost: int
    next_at: datetime | None
    last_status: int | None
    last_error: str | None
    reason: str | None
    note: str | None


@dataclass(frozen=True, slots=True)
class MessageListed:
    """A message with its last attempt, as ``messages`` lists it."""

    queue_name: str
    msg_id: int
    state: str
    webhook_id: str
    enqueued_at: datetime | None
    visible_at: datetime | None
    finished_at: datetime | None
    delivery_no: int
    attempts: int
    lost: int
    next_at: datetime | None
    reason: str | None
    note: str | None
    last_attempt_at: datetime | None
    status_code: int | None
    error: str | None
    response: str | None
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class Payload:
    """What a message carries."""

    msg_id: int
    headers: Any
    message: Any


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """Something that happened to a message, or what comes next; ``actor`` is a role or a worker.

    ``until`` is when an attempt's wait, or a lease, ends or ended.
    """

    at: datetime | None
    event: str
    delivery_no: int | None
    attempt_no: int | None
    status_code: int | None
    duration_ms: int | None
    error: str | None
    response: str | None
    actor: str | None
    detail: str | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class DeadGroup:
    """Dead letters of one reason and status, with the error or note that is most frequent among them."""

    queue_name: str
    reason: str
    status_code: int | None
    error: str | None
    messages: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP try of one message, settled, or under way when ``outcome`` is ``in_flight`` or ``lapsed``."""

    queue_name: str
    msg_id: int
    delivery_no: int
    attempt_no: int
    outcome: str
    status_code: int | None
    duration_ms: int | None
    claimed_at: datetime
    settled_at: datetime | None
    next_at: datetime | None
    error: str | None
    response: str | None
    worker: str | None
    transport: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """What ``replay`` did to one id."""

    msg_id: int
    outcome: str


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that ``send`` enqueued, or that was there already under its dedup key."""

    queue_name: str
    msg_id: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class SentOnce:
    """The one message of a dedup key; ``duplicate`` if it was sent before."""

    msg_id: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class ReplayedMessage:
    """What ``replay`` did to one message of a queue."""

    queue_name: str
    msg_id: int
    outcome: str


@dataclass(frozen=True, slots=True)
class PurgedBatch:
    """One batch of ``purge``; ``next_after`` is None when nothing older is left."""

    messages: int
    attempts: int
    next_after: datetime | None
    next_after_id: int | None


@dataclass(frozen=True, slots=True)
class Purged:
    """What ``purge`` deleted, or would delete, of a queue; ``kind`` is ``delivered`` or ``dead``."""

    queue_name: str
    kind: str
    messages: int
    attempts: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Partitioned:
    """An archive, or the attempt log, in partitions; ``to_move`` is what was there before and is not yet in them."""

    table_name: str
    partitions: int
    to_move: int
    changed: bool


@dataclass(frozen=True, slots=True)
class DroppedPartitions:
    """Partitions that a purge dropped, with about how many messages; ``until`` is when the oldest that is left was archived."""

    partitions: int
    messages: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Exported:
    """A message before it is purged; its instants as PostgreSQL writes them, for they may be infinite."""

    msg_id: int
    enqueued_at: str
    finished_at: str
    headers: Any
    message: str | None


@dataclass(frozen=True, slots=True)
class PurgedSome:
    """What one batch deleted."""

    messages: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Old rows of ours that are no messages."""

    kind: str
    deleted: int


@dataclass(frozen=True, slots=True)
class ArchiveSize:
    """What delivered history takes on disk, its growth in the last day, how long it is kept; None where unknown."""

    bytes: int | None
    bytes_per_day: int | None
    retention_s: int | None


@dataclass(frozen=True, slots=True)
class Purgeable:
    """What ``purge`` would delete."""

    messages: int
    attempts: int
    bytes: int


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker as it last reported, or (``kind`` schedule) a job of pg_cron with how it last ended.

    ``busy`` is the share of its time in which the database worked for it; known of jobs only.
    """

    worker_id: int | None
    name: str
    kind: str
    transport: str
    queues: list[str]
    state: str
    in_flight: int
    holds_since: datetime | None
    busy: float | None
    qctl_version: str | None
    role_name: str | None
    started_at: datetime | None
    last_seen_at: datetime | None
    stopped_at: datetime | None
    job_name: str | None
    last_run: str | None
    last_message: str | None


class Claimed(NamedTuple):
    """A message to send: everything its request needs. A tuple, and the lease as text, for thousands come each second."""

    msg_id: int
    lease: str
    lease_ms: int
    delivery_no: int
    attempt_no: int
    url: str
    timeout_ms: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Settled:
    """How many messages went which way in one settle."""

    delivered: int
    retrying: int
    dead: int
    paused: int
    late: int
    unknown: int
    failed: int


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What one round of upkeep did."""

    lapsed: int
    reaped: int
    workers_gone: int


@dataclass(frozen=True, slots=True)
class Sleeper:
    """Whether a worker may sleep on a queue."""

    queue_id: int
    queue_name: str
    asleep: bool


@dataclass(frozen=True, slots=True)
class WorkQueue:
    """What a worker must know of a queue, and whether this database may deliver at all."""

    queue_id: int
    queue_name: str
    transport: str
    concurrency: int
    concurrency_auto: bool
    max_in_flight: int
    expects: bool
    allow_networks: list[str]
    armed: bool
