"""The compiled depthwise convolution against torch's, in double precision."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.model.kernels.depthwise import depthwise


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 4), st.integers(1, 40)),
    taps=st.integers(1, 35),
    data=st.data(),
)
def test_output_and_gradients_equal_torch(seed, shape, taps, data):
    look_ahead = data.draw(st.integers(0, taps - 1))
    torch.manual_seed(seed)
    x, weight = torch.randn(shape).double(), torch.randn(shape[-1], 1, taps).double()
    loss = torch.randn(shape).double()
    results = []
    for compiled in (True, False):
        own = [tensor.clone().requires_grad_() for tensor in (x, weight)]
        if compiled:
            out = depthwise(*own, look_ahead)
        else:
            padded = F.pad(own[0].permute(1, 2, 0), (taps - 1 - look_ahead, look_ahead))
            out = F.conv1d(padded, own[1], groups=shape[-1]).permute(2, 0, 1)
        (out * loss).sum().backward()
        results.append((out.detach(), *(tensor.grad for tensor in own)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_hand_computed():
    x = torch.tensor([1.0, 2.0, 4.0])[:, None, None]
    weight = torch.tensor([[[10.0, 100.0, 1000.0]]])
    # tap 1 is the present: 100 x[t], with 10 x[t - 1] and 1000 x[t + 1]
    assert depthwise(x, weight, 1).flatten().tolist() == [2100, 4210, 420]
    assert depthwise(x, weight, 0).flatten().tolist() == [1000, 2100, 4210]
