"""Simulators of NIR files: a vectorised reference, and Lava."""

import os

# Two pools of OpenMP threads (torch's and numba's) share the cores. By default an idle one spins and takes them from
# the other: on a busy machine a training step was measured four times slower. Read when OpenMP first loads, hence here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
