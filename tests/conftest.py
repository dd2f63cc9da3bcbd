"""What holds for all tests.

The same examples in every run, and no clock decides. Golden files change only when asked: `pytest --update-golden`.
"""

import os
import signal
from collections import Counter

import pytest
from hypothesis import settings

# Small networks: more threads than processes take time from each other, and sums come in another order. Numba's pool
# sets OpenMP's number for all when it starts, so both are said; before either is imported.
for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(pool, "1")

# A shell starts background jobs with SIGINT ignored, and what they start inherits that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def no_device_was_measured(monkeypatch, tmp_path_factory):
    """Reports take prices from the checkout's docs/measured: what stands there is no input of a test."""
    monkeypatch.setattr("neurotarget.hardware.energy.prices.MEASURED", tmp_path_factory.getbasetemp() / "measured")


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files in tests/data that differ")


def pytest_collection_modifyitems(items):
    """Files with the most slow tests first: when several processes take a file each, the last one ends sooner."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
