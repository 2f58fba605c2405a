"""The development lock, as far as it can be read without a registry; ``make audit`` asks one."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements/development.txt").read_text()
PINS = {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE)}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ASKED = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]


@pytest.mark.parametrize("line", [line for line in ASKED if not line.startswith("qctl[")])
def test_each_dependency_is_pinned_at_a_version_that_pyproject_allows(line):
    asked = Requirement(line)
    pinned = PINS[canonicalize_name(asked.name)]
    assert asked.specifier.contains(pinned, prereleases=True), f"{line}, but the lock has {pinned}: make lock"


def test_each_pin_has_a_hash_and_no_registry_is_named():
    blocks = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(PINS) > 50
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCK


def test_each_dependency_has_its_reason_in_the_architecture():
    reasons = (ROOT / "docs/architecture.md").read_text().partition("## Dependencies")[2]
    unexplained = [
        name for line in ASKED if not line.startswith("qctl[") and (name := Requirement(line).name) not in reasons
    ]
    assert not unexplained
