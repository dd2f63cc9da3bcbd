"""Linear layers in 8-bit integers, by PyTorch's own integer product where its kernels exist.

Weights have a scale per output, activations one per batch, found as it runs (W8A8, dynamic; LLM.int8(), Dettmers et
al., NeurIPS 2022, arXiv 2208.07339, without its outliers). All else of a network stays as it is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST = 127
MULTIPLE = 8  # of inputs and outputs: what the kernels of a GPU take
FEWEST_ROWS = 17


class Int8Linear(nn.Module):
    """`y = (round(x / s_x) @ round(W / s_w)) s_x s_w + b`, s = largest magnitude / 127.

    Args:
        linear: whose weights are rounded; its device and precision are kept.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.outputs, self.inputs = weight.shape
        scale = weight.abs().amax(dim=1).clamp(min=torch.finfo(weight.dtype).tiny) / LARGEST
        rounded = (weight / scale[:, None]).round().to(torch.int8)
        padded = F.pad(rounded, (0, -self.inputs % MULTIPLE, 0, -self.outputs % MULTIPLE))
        self.register_buffer("weight", padded)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        rows = x.reshape(-1, self.inputs)
        scale = rows.abs().amax().clamp(min=torch.finfo(x.dtype).tiny) / LARGEST
        integers = (rows / scale).round().to(torch.int8)
        missing = max(FEWEST_ROWS - len(rows), 0)
        integers = F.pad(integers, (0, -self.inputs % MULTIPLE, 0, missing)).contiguous()
        product = torch._int_mm(integers, self.weight.t())[: len(rows), : self.outputs]
        y = (product * (scale.float() * self.scale.float())).to(x.dtype)
        return (y if self.bias is None else y + self.bias).reshape(*x.shape[:-1], self.outputs)


def in_int8(module: nn.Module) -> int:
    """Puts an `Int8Linear` in the place of every linear layer of a module; how many there were."""
    found = [(parent, name, child) for parent in module.modules() for name, child in parent.named_children()]
    linear = [(parent, name, child) for parent, name, child in found if isinstance(child, nn.Linear)]
    for parent, name, child in linear:
        setattr(parent, name, Int8Linear(child))
    return len(linear)
