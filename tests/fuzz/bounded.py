"""How many cases each fuzz test tries: QCTL_TEST_FUZZ, or 60, always the same."""

import os

from hypothesis import HealthCheck, settings

CASES = int(os.environ.get("QCTL_TEST_FUZZ", "60"))
bounded = settings(
    max_examples=CASES, deadline=None, derandomize=CASES < 1000, suppress_health_check=list(HealthCheck), database=None
)
