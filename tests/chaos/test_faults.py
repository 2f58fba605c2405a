"""Process faults under load, the short form: each once. The long form is scripts/reliability.py, by ``make chaos``."""

import pytest
from faults import FAULTS

from servers import debian_binaries


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_and_nothing_falsely_delivered(tmp_path, name):
    if debian_binaries() is None:
        pytest.skip("no Debian PostgreSQL here: scripts/debian_parts.sh")
    try:
        result = FAULTS[name](tmp_path, 1, 1200, 17.0)
    except PermissionError as error:
        pytest.skip(str(error))
    print(result)
    assert (result.lost, result.false, result.dead) == (0, 0, 0)
    assert result.messages >= 1200
