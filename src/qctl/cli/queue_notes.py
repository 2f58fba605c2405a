"""What a person must know of a queue's transport and URL, for create and set."""

from typing import TYPE_CHECKING

from qctl.cli.console import say
from qctl.output.columns import one_line

if TYPE_CHECKING:
    from qctl import models


def tell_transport(transport: str, reason: str, name: str, *, scheduled: bool, running: bool = True) -> None:
    """Says which transport a queue has, why, and what follows from that.

    Args:
        transport: ``pg_net`` or ``http``.
        reason: why it was chosen.
        name: of the queue.
        scheduled: pg_cron has jobs of qctl.
        running: one of them runs now.
    """
    say(f"transport {transport}: {reason}")
    if transport == "http":
        return
    say(
        "  a redirect is a failure; every role can read the headers that are sent; one slow endpoint delays all queues of pg_net"
    )
    if not scheduled:
        say("  pg_cron is not here, so run this once a minute by other means: call qctl.work();")
    elif not running:
        say("  its job starts at the next full minute; nothing is sent before")


def tell_delivery(
    name: str,
    transport: str,
    stop: "models.Stop | None",
    *,
    attached: bool = True,
    allow: str | None = None,
    running: bool = True,
    edge: str | None = None,
) -> None:
    """Says when the next message of a queue is delivered, and what to type next.

    Args:
        name: of the queue.
        transport: ``pg_net`` or ``http``.
        stop: what stops its delivery.
        attached: a table is attached to it.
        running: a job of pg_net runs now; if not, it was said when it starts.
        edge: ``known`` where the database wakes an Edge Function, ``possible`` where it could.
        allow: the command that allows the address of its endpoint, where that is refused.
    """
    test = f"qctl test -q {name}"
    if not attached:
        say(f"no table is captured into it yet: qctl attach SCHEMA.TABLE -q {name}")
    if allow is not None:
        then = test if stop is None and transport == "pg_net" else f"qctl worker -q {name}"
        say(f"nothing is delivered until its address is allowed; then: {then}")
        say(f"Next: {allow}")
    elif stop is None:
        if transport == "pg_net" and not running:
            say("the first message is delivered within seconds of that")
        elif transport == "pg_net":
            say("the next message is delivered within seconds")
        elif edge == "known":
            say("the Edge Function is woken when a message is ready: qctl edge status")
        else:
            say(f"a worker of all queues takes it up within 5 s; if none runs: qctl worker -q {name}")
        say(f"Next: {test}")
    elif stop.cause == "no_worker" and transport == "http":
        say(f"nothing delivers this queue until a worker runs; then try it in another terminal: {test}")
        if edge == "possible":
            say("nothing to host: a worker in a Supabase Edge Function, which this database wakes: qctl edge init")
        say(f"Next: qctl worker -q {name}")
    else:
        say(f"nothing is delivered now: {stop.cause}: {one_line(stop.reason)}")
        say(f"Next: {stop.fix or test}")


def tell_what_is_kept(row: "models.Queue") -> None:
    """Says what tail, show and replay cannot tell or do, where a queue keeps less of a success than usual."""
    if row.log == "failures":
        say(
            "of the successes that are settled together only one is logged, so tail and messages show only that one;"
            " counts and metrics are complete"
        )
    if not row.archive:
        say("delivered messages are not archived, so neither show nor replay finds them")


def warn_of_url(url: str, name: str, *, concurrency_set: bool) -> None:
    """Warns of n8n's test URL, and says how n8n, which works on one core, gets no more than it takes."""
    if "/webhook/" in url and not concurrency_set:
        say(f"n8n works on one core; qctl set -q {name} --concurrency auto finds how many requests at once it takes")
    if "/webhook-test/" in url:
        say("Warning: an n8n URL with /webhook-test/ answers only while its editor listens; use the one with /webhook/")
