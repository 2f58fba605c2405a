"""Help, completion and the version wait for nothing that they do not use."""

import subprocess
import sys

import pytest

from processes import QCTL, environment

HEAVY = {"markdown_it", "psycopg", "pgmq", "pycurl", "tabulate", "asyncio", "tomllib"}


@pytest.mark.parametrize("arguments", [["help", "--all"], ["replay", "--help"]])
def test_help_reads_neither_the_driver_nor_what_commands_do(arguments):
    code = """
import sys
from qctl.cli import main
try:
    main()
except SystemExit:
    pass
read = [n for n, m in sys.modules.items() if n.startswith("qctl.") and type(m).__name__ != "_LazyModule"]
print(*sys.modules, file=sys.stderr)
print(*read, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    loaded, read = done.stderr.splitlines()[-2:]
    mine = {name for name in loaded.split() if name.startswith("qctl.cli.")}
    assert "qctl.cli.commands.replay" in mine
    assert ("qctl.cli.commands.status" in mine) == (arguments != ["replay", "--help"])
    assert HEAVY.isdisjoint(loaded.split())
    assert {"qctl.db", "qctl.operations.queues"}.isdisjoint(read.split())
    assert not [name for name in read.split() if name.startswith("qctl.models.")]


def test_every_operation_is_lazy_and_still_an_ordinary_module():
    code = """
import importlib, pkgutil, sys
import qctl.cli
lazy = {n.removeprefix("qctl.") for n, m in sys.modules.items() if n.startswith("qctl.") and type(m).__name__ == "_LazyModule"}
here = {m.name for m in pkgutil.iter_modules(sys.modules["qctl"].__path__)}
print(*sorted(here - lazy - {"cli", "output", "errors", "lazy", "models", "units"}))
operations = {f"operations.{m.name}" for m in pkgutil.iter_modules(sys.modules["qctl.operations"].__path__)}
print(operations <= lazy)
from qctl.operations import queues
print(queues.create.__module__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [
        "__main__ demo listening operations payload_types web worker",
        "True",
        "qctl.operations.queues",
    ]


def test_no_module_is_read_twice():
    code = """
import qctl.cli, sys
from importlib import import_module
from pathlib import Path
source = Path(qctl.cli.__file__).parents[1]
names = [".".join(file.relative_to(source.parent).with_suffix("").parts) for file in source.rglob("[!_]*.py")]
innermost_first = sorted(names, key=lambda name: (name.count("."), name), reverse=True)
for name in innermost_first:
    if not name.startswith("qctl.db."):
        import_module(name)
seen = {}
for module in sys.modules.values():
    if module.__name__.startswith("qctl"):
        for value in vars(module).values():
            if type(value) is type(sys) and value.__name__.startswith("qctl."):
                seen.setdefault(value.__name__, set()).add(id(value))
print(*sorted(name for name, objects in seen.items() if len(objects) > 1))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""


def test_options_are_completed_whatever_the_executable_is_called(tmp_path):
    other = tmp_path / "qctl-dev"
    other.symlink_to(QCTL)
    asked = {"_QCTL_DEV_COMPLETE": "complete_bash", "COMP_WORDS": "qctl-dev status --wa", "COMP_CWORD": "2"}
    done = subprocess.run([other], env=environment(**asked), capture_output=True, text=True, check=True, timeout=60)
    assert "--watch" in done.stdout


def test_garbage_is_looked_for_again_once_a_command_runs():
    code = """
import gc, sys
from qctl.__main__ import main
print(gc.isenabled(), file=sys.stderr)
sys.argv = ["qctl", "completion", "bash"]
try:
    main()
except SystemExit:
    pass
print(gc.isenabled(), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.split() == ["False", "True"]


def test_a_class_that_stands_in_is_the_real_one_when_it_is_used():
    code = "import qctl.cli, sys; from rich.markdown import Markdown; print('markdown_it' in sys.modules);"
    code += "print(type(Markdown('*a*')).__module__, Markdown.elements is not None, 'markdown_it' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "rich.markdown", "True", "True"]


def test_python_m_qctl():
    done = subprocess.run([sys.executable, "-m", "qctl", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("qctl ")
