"""The page that Prometheus scrapes, which qctl metrics and a worker serve."""

from collections.abc import Callable

from qctl import config, db, http_server
from qctl.errors import ExitCode, QctlError


def scrapes(database: "config.Database") -> "Callable[[], http_server.Page]":
    """The page ``/metrics`` of a database.

    Raises:
        QctlError: the extra ``metrics`` is not installed (4).
    """
    try:
        from qctl.operations.metrics import CONTENT_TYPE, Metrics
    except ImportError:
        raise QctlError(
            "the official Prometheus client is not installed",
            hint="pip install 'qctl[metrics]'",
            code=ExitCode.SERVER_UNFIT,
        ) from None
    measures = Metrics(lambda: db.connect(database, application="metrics"))
    return lambda: http_server.Page(200, measures.scrape(), CONTENT_TYPE)
