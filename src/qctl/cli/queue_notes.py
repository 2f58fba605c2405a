"""What a person must know of a queue's transport and URL, for create and set."""

from qctl.cli.console import say


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
        say(f"nothing delivers this queue until you run: qctl worker -q {name}")
        return
    say(
        "  a redirect is a failure; every role can read the headers that are sent; one slow endpoint delays all queues of pg_net"
    )
    if not scheduled:
        say("  pg_cron is not here, so run this once a minute by other means: call qctl.work();")
    elif not running:
        say("  its job starts at the next full minute; nothing is sent before")


def warn_of_url(url: str, *, concurrency_set: bool) -> None:
    """Warns of n8n's test URL, and says how n8n, which works on one core, gets no more than it takes."""
    if "/webhook/" in url and not concurrency_set:
        say("n8n works on one core; qctl set --concurrency auto finds how many requests at once it takes")
    if "/webhook-test/" in url:
        say("Warning: an n8n URL with /webhook-test/ answers only while its editor listens; use the one with /webhook/")
