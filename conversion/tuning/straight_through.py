"""Gradients for arithmetic that has none: rounding, shifts, and Lava's fixed-point neuron over whole utterances.

The forward pass is the integers'. The backward pass is that of the real numbers that the integers stand for: a
rounding, a shift or a clip passes the gradient on as it is (straight-through: Bengio, Leonard, Courville 2013, arXiv
1308.3432), and a spike has a surrogate gradient.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import torch
from neurotarget.sim.graph.kinds import SPIKING
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference import integer_kernels
from neurotarget.sim.reference.integer import CURRENT_LIMIT, INTEGER, Parameters
from neurotarget.sim.reference.integer_kernels import ALIGN_BITS, DECAY_BITS
from neurotarget.sim.resets import RESET_ZERO, RESETS
from torch import Tensor

from neurotarget.compiled import compiled


def straight_through(real: Tensor, integer: Tensor) -> Tensor:
    """`integer` in the forward pass, the gradient of `real` in the backward pass."""
    value: Tensor = _StraightThrough.apply(real, integer)
    return value


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, real: Tensor, integer: Tensor) -> Tensor:
        return integer.to(real.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class FixedPointNeuron(torch.autograd.Function):
    """LIF, IF and CubaLIF; LI, I and CubaLI, which send v: integer_kernels.py forward, real decays backward.

    With keep_u and keep_v the shares of u and v that are kept each step, and the reset detached:

        grad_v[t] = grad_s[t] g'(v[t] / theta - 1) / theta + (1 - s[t]) keep_v grad_v[t + 1]  (reset to zero)
        grad_v[t] = grad_s[t] g'(v[t] / theta - 1) / theta + keep_v grad_v[t + 1]  (by subtraction)
        grad_u[t] = grad_v[t] + keep_u grad_u[t + 1]
        grad_a[t] = 2^6 grad_u[t],  grad_bias = sum over samples and steps of grad_v

    g' is SpikingJelly's ATan, `alpha / 2 / (1 + (pi / 2 alpha x)^2)`, of the distance in units of the threshold, so
    that one alpha serves every layer. A neuron that sends v has grad_v[t] = grad_out[t] + keep_v grad_v[t + 1].
    """

    @staticmethod
    def forward(ctx: Any, current: Tensor, bias: Tensor, node: Node, p: Parameters, alpha: float) -> Tensor:
        """Spikes or potentials, float32 [samples, steps, *neurons].

        Args:
            current: integers [samples, steps, *neurons].
            bias: integers [neurons], at the scale of v.
            node: the population.
            p: its integer parameters (sim.integer.integer_parameters).
            alpha: slope of the surrogate gradient.
        """
        samples, steps, fires = *current.shape[:2], node.kind in SPIKING
        rows = current.detach().to(torch.int64).reshape(samples, steps, node.neurons).numpy()
        if np.abs(rows).max(initial=0) >= CURRENT_LIMIT:
            raise GraphError(f"node {node.name}: its input current overflows 32 bits; lower training.learning_rate")
        u = np.zeros((samples, node.neurons), INTEGER)
        v = np.repeat(np.broadcast_to(p["v_initial"], node.neurons)[None], samples, axis=0)
        spikes = np.empty(rows.shape if fires else (0, 0, 0), np.uint8)
        potential = np.empty((0, 0, 0) if fires else rows.shape, INTEGER)
        differentiable = fires and any(ctx.needs_input_grad)
        states = np.empty((*rows.shape, 2) if differentiable else (0, 0, 0, 2), INTEGER)
        peaks, whole_bias = np.zeros((samples, 2), INTEGER), bias.detach().to(torch.int64).numpy()
        constants = p["keep_u"], p["keep_v"], whole_bias, p["threshold"], fires, p["reset"]
        integer_kernels.neuron(rows, *constants, u, v, spikes, potential, states, peaks)
        ctx.save_for_backward(torch.from_numpy(states[..., 1].astype(np.float32)))  # |v| < 2^23: exact
        ctx.neuron = p, fires, alpha
        ctx.like = current.dtype, bias.dtype
        out = torch.from_numpy(spikes if fires else potential)
        return out.to(torch.float32).reshape(current.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (v,) = ctx.saved_tensors
        p, fires, alpha = ctx.neuron
        rows = gradient.to(torch.float32).contiguous().reshape(*gradient.shape[:2], -1).numpy()
        grad_current = np.empty_like(rows)
        grad_bias = np.zeros((len(rows), rows.shape[2]), np.float32)
        unity, theta = float(1 << DECAY_BITS), max(p["threshold"], 1)  # a threshold of 0 has no unit
        constants = np.array(
            [
                p["keep_u"] / unity,
                p["keep_v"] / unity,
                p["threshold"],
                math.pi / 2 * alpha / theta,
                alpha / 2 / theta,
                1 << ALIGN_BITS,
                1,
                0,
            ],
            np.float32,
        )
        to_zero = RESETS[p["reset"]] == RESET_ZERO
        _backward(rows, v.numpy(), fires, to_zero, constants, grad_current, grad_bias)
        current_dtype, bias_dtype = ctx.like
        return (
            torch.from_numpy(grad_current).reshape(gradient.shape).to(current_dtype),
            torch.from_numpy(grad_bias.sum(axis=0)).to(bias_dtype),
            None,
            None,
            None,
        )


@compiled
def _backward(grad_out, v, fires, to_zero, constants, grad_current, grad_bias):
    """grad_out, v, grad_current [samples, steps, neurons]; grad_bias [samples, neurons], zero at first; float32.

    All constants come in float32, because a literal would widen the loops to double precision.
    """
    samples, steps, neurons = grad_out.shape
    keep_u, keep_v, threshold, slope, peak, align, one, zero = constants
    for sample in numba.prange(samples):
        later_u, later_v = np.zeros(neurons, grad_out.dtype), np.zeros(neurons, grad_out.dtype)
        total = np.zeros(neurons, grad_out.dtype)
        for back in range(steps):
            t = steps - 1 - back
            arriving, out = grad_out[sample, t], grad_current[sample, t]
            if fires:
                charged = v[sample, t]
                for n in range(neurons):
                    distance = charged[n] - threshold
                    scaled = slope * distance
                    kept = zero if to_zero and distance > zero else later_v[n]
                    later_v[n] = arriving[n] * peak / (one + scaled * scaled) + kept
            else:
                for n in range(neurons):
                    later_v[n] += arriving[n]
            for n in range(neurons):
                total[n] += later_v[n]
                later_u[n] = later_v[n] + later_u[n]
                out[n] = align * later_u[n]
                later_u[n] *= keep_u
                later_v[n] *= keep_v
        grad_bias[sample] = total
