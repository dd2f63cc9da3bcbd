"""In how many bits the matrix products of a training step are computed; everything else is float32.

`tf32` rounds what enters a product of float32 on CUDA to 10 bits of mantissa. `bfloat16` is torch's autocast: products
have both sides and their result in bfloat16 (8 bits of mantissa), forward and backward; batch normalisation, membrane
potentials and the loss are cast back to float32 (networks/neuron.py). Weights, their gradients and AdamW stay float32,
and validation has no reduced precision: a network is chosen as it will compute.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def products(precision: str) -> Iterator[None]:
    """Around forward and backward passes: what `tf32` sets for the whole process, and takes back."""
    if precision != "tf32":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Around a forward pass: torch's own for `bfloat16`, else one of no effect."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
