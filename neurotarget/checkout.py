"""In a checkout, `model`, `conversion`, `sim` and `hardware` are other names for the packages of neurotarget.

`import model.spikescr` and `import neurotarget.model.spikescr` give one module object: with two, tables keyed by class
would know only one of the copies. Only a package that Python found by its bare name calls `stand_for`, so a user's own
`model.py` stays what it is.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType


def stand_for(package: str) -> None:
    """Makes the bare name `package`, which is being imported, and all below it names of neurotarget's own.

    Args:
        package: `model`, `conversion`, `sim` or `hardware`.
    """
    sys.meta_path.insert(0, _Finder(package))
    sys.modules[package] = importlib.import_module(f"neurotarget.{package}")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not name.startswith(f"{self.package}."):
            return None
        real = importlib.util.find_spec(f"neurotarget.{name}")
        if real is None:
            return None
        spec = importlib.machinery.ModuleSpec(name, _Loader(real), origin=real.origin)
        spec.submodule_search_locations = real.submodule_search_locations
        spec.has_location = real.has_location
        return spec


class _Loader(importlib.abc.InspectLoader):
    """Gives the module that stands under its full name, as it is."""

    def __init__(self, real: importlib.machinery.ModuleSpec) -> None:
        self.real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return importlib.import_module(self.real.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.real  # the import system has just put the bare name's in its place

    def get_code(self, name: str) -> CodeType | None:
        """For `python -m`."""
        return self.real.loader.get_code(self.real.name)  # type: ignore[union-attr]

    def get_source(self, name: str) -> str | None:
        return self.real.loader.get_source(self.real.name)  # type: ignore[union-attr]
