"""Our Neuron against Lava's own LIF, where both are defined."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np


def test_neuron_fires_as_lavas_own_lif() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.sim.lava.stock_lif"],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = program.communicate(timeout=60)
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
    stock, own = (np.array(raster) for raster in json.loads(printed.strip().splitlines()[-1]))
    assert stock.sum() > 20
    np.testing.assert_array_equal(own, stock)
