"""Which messages somebody means: a filter of the texts that they typed."""

import json
from dataclasses import replace

from qctl import units
from qctl.errors import UsageError
from qctl.operations import messages

_DAY = "24h"


def read(
    *,
    state: list[str] | None = None,
    retrying: bool = False,
    attempted: bool = False,
    since: str | None = None,
    until: str | None = None,
    captured_since: str | None = None,
    status_code: list[str] | None = None,
    error: str | None = None,
    response: str | None = None,
    not_response: str | None = None,
    where: str | None = None,
    dead: bool = False,
    delivered: bool = False,
) -> messages.Filter | None:
    """The filter that the options make, or None without any.

    Filters on what no index covers get a day's horizon, unless a time was given.

    Raises:
        UsageError: a time, status code or JSON value that is not valid.
    """
    named = {"dead": dead, "delivered": delivered, "retrying": retrying}
    states = [*(state or []), *(word for word, wanted in named.items() if wanted)]
    given = messages.Filter(
        states=states or None,
        since=units.moment(since) if since else None,
        until=units.moment(until) if until else None,
        captured_since=units.moment(captured_since) if captured_since else None,
        status_codes=_codes(status_code),
        error=error,
        response=response,
        not_response=not_response,
        attempted=attempted,
        where=_json(where),
    )
    if given == messages.Filter():
        return None
    deep = (given.error, given.response, given.not_response, given.status_codes)
    if any(part is not None for part in deep) and given.since is None:
        given = replace(given, since=units.moment(_DAY))
    if given.where is not None and given.captured_since is None and not given.by_attempt:
        given = replace(given, captured_since=units.moment(_DAY))
    return given


def _codes(given: list[str] | None) -> list[str] | None:
    for code in given or []:
        if len(code) != 3 or not code.isascii() or not all(c.isdigit() or c in "xX" for c in code):
            raise UsageError(f"'{code[:20]}' is not a status code", hint="for example 404, or 5xx")
    return given or None


def _json(text: str | None) -> str | None:
    if text is not None:
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            raise UsageError("--where is not JSON", hint="""for example '{"record": {"id": 7}}'""") from None
    return text
