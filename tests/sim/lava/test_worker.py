"""What the child may import, and that the mends of Lava act only where they are needed."""

from __future__ import annotations

import json
import pickle
import queue
import subprocess
import sys
from pathlib import Path

import pytest
from neurotarget.sim.lava.child import worker

ROOT = Path(__file__).parents[3]


def output_of(program: str) -> str:
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


def test_the_child_imports_nothing_but_numpy_scipy_and_lava_of_what_is_heavy() -> None:
    program = (
        "from neurotarget.sim.lava.child import compat; compat.apply(); "
        "from neurotarget.sim.lava.child import builder, worker; import sys, json; "
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    loaded = set(json.loads(output_of(program)))
    assert {"lava", "numpy"} <= loaded
    assert not loaded & {"torch", "numba", "spikingjelly", "nir", "tqdm", "h5py"}


def test_each_mend_is_needed_here_or_does_nothing() -> None:
    import numpy as np

    new_numpy = tuple(map(int, np.__version__.split(".")[:2])) >= (2, 4)
    applied = json.loads(
        output_of("from neurotarget.sim.lava.child import compat; import json; print(json.dumps(compat.apply()))")
    )
    assert applied == ["hashable_defaults"] + ["reshape_keyword"] * new_numpy


def test_a_reshaped_port_works_under_this_numpy() -> None:
    program = (
        "from neurotarget.sim.lava.child import compat; compat.apply(); import numpy as np; "
        "from lava.magma.core.process.ports.ports import ReshapePort; "
        "print(ReshapePort((2, 3), (6,)).get_transform_func_fwd()(np.arange(6)).shape)"
    )
    assert output_of(program) == "(2, 3)"


@pytest.mark.slow  # imports torch
def test_lava_dl_can_be_imported_after_its_mends() -> None:
    program = (
        "from neurotarget.sim.lava.child import compat; compat.apply(deep_learning=True); import numpy as np; "
        "from lava.lib.dl.netx import hdf5; print(hdf5.int(np.array([7])), hdf5.int('3'), isinstance(4, hdf5.int))"
    )
    assert output_of(program) == "7 3 True"


def test_what_lava_hands_to_the_worker_says_which_process_raised_it() -> None:
    """The worker may tell of it before the Process does, and an error crosses between them pickled."""
    hosted = ValueError("of a model that another Process hosts")
    hosted.process = "first.lif"  # type: ignore[attr-defined]
    kept: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
    for error in (TypeError("data type"), hosted, None):
        worker.Named(kept, "recorder 0").put(error)
    names = [getattr(pickle.loads(pickle.dumps(kept.get())), "process", None) for _ in range(3)]
    assert names == ["recorder 0", "first.lif", None]
