"""Numbers of JSON stay as they were written."""

import json

from hypothesis import given
from hypothesis import strategies as st

from qctl.exact_json import dumps, loads

NUMBERS = ["12345678901234567.89", "1.10", "1e400", "-0.0", "0.1", "9007199254740993", "3.141592653589793238462643"]


def test_numbers_come_out_as_they_came_in():
    text = "[" + ", ".join(NUMBERS) + "]"
    assert dumps(loads(text)) == text
    assert dumps({"a": [{"b": loads("1.10")}]}, indent=2) == '{\n  "a": [\n    {\n      "b": 1.10\n    }\n  ]\n}'


def test_they_can_be_counted_with():
    assert loads("12345678901234567.89") > 12345678901234566
    assert sum(loads("[0.10, 0.20]")) == 0.1 + 0.2


def test_what_is_nested_deeper_than_it_can_go_is_shown_all_the_same():
    text = "[" * 700 + "1.10" + "]" * 700
    assert loads(dumps(loads(text))) == loads(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_everything_else_is_as_json_writes_it(value):
    assert dumps(value) == json.dumps(value)
    assert loads(json.dumps(value)) == value
