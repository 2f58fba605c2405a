"""Modules that are loaded when something of them is first used: help and completion need not wait for PostgreSQL's driver."""

import sys
from functools import cache
from importlib import import_module
from importlib.util import LazyLoader, find_spec, module_from_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Any


def lazy(*names: str) -> None:
    """From here on, an import of one of these modules gives one that reads its file at the first use.

    Args:
        names: modules, dotted; those that are already there stay as they are. Their parents are imported.
    """
    for name in names:
        if name in sys.modules:
            continue
        spec = find_spec(name)
        assert spec is not None and spec.loader is not None
        spec.loader = LazyLoader(spec.loader)
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        parent, _, child = name.rpartition(".")
        setattr(sys.modules[parent], child, module)


def read(*names: str) -> None:
    """Reads these lazy modules now: before Python 3.12 two threads that use one first get in each other's way."""
    for name in names:
        # Whatever is asked of it.
        _ = import_module(name).__doc__


def modules_in(package: str) -> list[str]:
    """The dotted names of the modules in a package, which is imported."""
    return [f"{package}.{module.name}" for module in iter_modules(import_module(package).__path__)]


def lazy_class(name: str, of: str) -> None:
    """From here on, an import of this class gives a stand-in that reads its module when it is called or asked for an attribute.

    For a module of a library that another imports by ``from … import Class`` at its top and hardly ever uses, which :func:`lazy`
    cannot put off.

    Args:
        name: the class.
        of: its module, dotted; one that is already there stays as it is.
    """
    if of in sys.modules:
        return

    @cache
    def real() -> Any:
        sys.modules.pop(of)
        return getattr(import_module(of), name)

    class Standin(type):
        def __call__(cls, *arguments: Any, **named: Any) -> Any:
            return real()(*arguments, **named)

        def __getattr__(cls, attribute: str) -> Any:
            return getattr(real(), attribute)

    module = ModuleType(of)
    setattr(module, name, Standin(name, (), {}))
    sys.modules[of] = module
