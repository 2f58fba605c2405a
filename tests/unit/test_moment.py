"""Every form of a time that is printed is also understood."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from qctl.errors import UsageError
from qctl.output.columns import instant
from qctl.units import moment


@pytest.mark.parametrize("ago", [timedelta(seconds=1), timedelta(hours=3), timedelta(days=1), timedelta(days=90)])
def test_what_is_printed_is_understood(ago):
    then = (datetime.now(UTC) - ago).replace(microsecond=0)
    assert moment(instant(then)) == then
    assert moment(then.strftime("%Y-%m-%d %H:%M:%S UTC")) == then
    assert moment(then.isoformat()) == then


def test_a_time_of_day_is_the_last_one():
    now = datetime.now().astimezone()
    for text in ("00:00", "23:59:59", "9:05", "14:02:11 UTC"):
        assert now - timedelta(days=1, hours=1) < moment(text) <= now


def test_days_begin_at_midnight():
    today = moment("today")
    assert (today.hour, today.minute, today.second) == (0, 0, 0)
    assert today.date() == datetime.now().astimezone().date()
    assert today.date() - moment("yesterday").date() == timedelta(days=1)
    assert abs(moment("-15m") - (datetime.now(UTC) - timedelta(minutes=15))) < timedelta(seconds=5)


@pytest.mark.parametrize("text", ["", "25:00", "soon", "14:02:", "-", "tomorrow"])
def test_anything_else_is_refused_with_examples(text):
    with pytest.raises(UsageError, match="is not a valid time") as caught:
        moment(text)
    assert "14:02:11" in caught.value.hint


def test_a_day_that_lacks_an_hour_begins_at_its_midnight():
    code = (
        "from datetime import datetime; from qctl.units import _midnight;"
        " print(_midnight(datetime(2027, 3, 28, 12).astimezone(), days_ago=0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"TZ": "Europe/Berlin"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "2027-03-28 00:00:00+01:00\n"
