"""Modules that are read when something of them is first used, so that help and completion do not wait for PostgreSQL's driver."""

import sys
from importlib.util import LazyLoader, find_spec, module_from_spec


def late(*names: str) -> None:
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
