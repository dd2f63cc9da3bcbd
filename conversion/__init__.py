"""From a PyTorch checkpoint to a NIR file, checked against PyTorch."""

import sim  # noqa: F401  sets how OpenMP threads wait, before torch loads
