"""The compiled rotation against torch's own operations: the same bits, forward and backward."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.model.kernels.turn import turn
from neurotarget.model.networks.parts import Rotary, rotary_angle


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 5)),
    heads=st.integers(1, 3),
    pairs=st.integers(1, 9),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_training_and_evaluation_turn_alike(seed, shape, heads, pairs, dtype):
    torch.manual_seed(seed)
    rotary = Rotary(rotary_angle(2 * pairs), heads)
    x, weight = (torch.randn(*shape, 2 * pairs * heads, dtype=dtype) for _ in range(2))
    results = []
    for training in (True, False):  # compiled, and through torch
        own = x.clone().requires_grad_()
        out = rotary.train(training)(own)
        (out * weight).sum().backward()
        results.append((out.detach(), own.grad))
    (ours, our_gradient), (theirs, their_gradient) = results
    assert torch.equal(ours, theirs) and torch.equal(our_gradient, their_gradient)


def test_a_quarter_turn_by_hand():
    x = torch.tensor([[[3.0, 5.0]]])
    assert turn(x, torch.tensor([[0.0]]), torch.tensor([[1.0]])).tolist() == [[[-5.0, 3.0]]]
