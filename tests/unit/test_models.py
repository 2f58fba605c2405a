"""The package of models gives each of its classes, and reads only the module of the one that is asked for."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import qctl.models
from qctl.models import _MODULES

MODULES = sorted(module.name for module in pkgutil.iter_modules(qctl.models.__path__))


def test_every_class_is_given():
    assert sorted(_MODULES) == MODULES
    typed = Path(qctl.models.__file__).read_text()
    for name in MODULES:
        module = importlib.import_module(f"qctl.models.{name}")
        classes = {n for n, one in vars(module).items() if inspect.isclass(one) and one.__module__ == module.__name__}
        assert classes == set(_MODULES[name].split())
        for one in classes:
            assert getattr(qctl.models, one) is getattr(module, one)
            assert f"from qctl.models.{name} import {one} as {one}\n" in typed


def test_one_is_read_with_its_module_alone():
    code = (
        "import sys; from qctl.models import Lag; print(sorted(n for n in sys.modules if n.startswith('qctl.models.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['qctl.models.queues']\n"


def test_no_other_name_is():
    with pytest.raises(ImportError):
        importlib.import_module("qctl.models.nothing")
    with pytest.raises(AttributeError):
        qctl.models.Nothing  # noqa: B018
