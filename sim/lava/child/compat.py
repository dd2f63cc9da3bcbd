"""What Lava 0.10 and lava-dl 0.6 need on a Python and a NumPy newer than those they were released for.

Their metadata asks for Python 3.10, numpy < 2 and torch < 2.4, and no fix will be released. With these four mends they
work on Python 3.11 to 3.13 and current numpy. Each does nothing where its condition does not hold. They change what
Lava sees, so they belong into the process that runs Lava and nowhere else: call `apply` before the first `import lava`.
"""

from __future__ import annotations

import builtins
import dataclasses
import functools
import importlib
import importlib.util
import sys
import types
from typing import Any


def apply(deep_learning: bool = False) -> list[str]:
    """Applies the mends and names those that were needed.

    Args:
        deep_learning: also mend lava-dl, whose import takes torch and seconds.
    """
    mends = [hashable_defaults, reshape_keyword]
    if deep_learning:
        mends += [object_detection, int_of_array]
    return [mend.__name__ for mend in mends if mend()]


def hashable_defaults() -> bool:
    """Python >= 3.11 refuses `lava.magma.compiler.var_model`: one dataclass is the default of another's field.

    A default must be hashable since 3.11, so that one module is loaded with dataclasses that hash.
    """
    if sys.version_info < (3, 11):  # noqa: UP036 (a stock Lava on Python 3.10 may run this)
        return False
    original = dataclasses.dataclass
    dataclasses.dataclass = functools.partial(original, unsafe_hash=True)
    try:
        importlib.import_module("lava.magma.compiler.var_model")
    finally:
        dataclasses.dataclass = original
    return True


def reshape_keyword() -> bool:
    """numpy >= 2.4 has no `np.reshape(newshape=)`, which Lava's ReshapePort passes; unmended, a run hangs."""
    if _numpy_before_2_4():
        return False
    ports: Any = importlib.import_module("lava.magma.core.process.ports.ports")

    class Numpy(types.ModuleType):
        """numpy, but that `reshape` also takes its old keyword."""

        def __getattr__(self, name: str) -> Any:
            return getattr(importlib.import_module("numpy"), name)

    numpy = Numpy("numpy")
    numpy.reshape = _reshape  # type: ignore[attr-defined]
    ports.np = numpy
    return True


def _reshape(array: Any, shape: Any = None, newshape: Any = None) -> Any:
    import numpy as np

    return np.reshape(array, newshape if shape is None else shape)


def object_detection() -> bool:
    """`lava.lib.dl.slayer` imports its object detection, and with it cv2 and torchvision, which few have."""
    name = "lava.lib.dl.slayer.object_detection"
    if name in sys.modules or all(map(importlib.util.find_spec, ("cv2", "torchvision"))):
        return False
    sys.modules[name] = types.ModuleType(name)
    return True


def int_of_array() -> bool:
    """numpy >= 2.4 refuses `int()` of an array of one element, which `lava.lib.dl.netx.hdf5` calls on parameters."""
    if _numpy_before_2_4():
        return False
    hdf5: Any = importlib.import_module("lava.lib.dl.netx.hdf5")

    class AsInt(type):
        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, builtins.int)

    class Int(builtins.int, metaclass=AsInt):
        """int, but that an array of one element counts as its element."""

        def __new__(cls, value: Any = 0, *arguments: Any) -> Any:
            return builtins.int(value.item() if getattr(value, "size", 0) == 1 else value, *arguments)

    hdf5.int = Int
    return True


def _numpy_before_2_4() -> bool:
    import numpy as np

    return tuple(map(int, np.__version__.split(".")[:2])) < (2, 4)
