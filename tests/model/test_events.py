"""Products that leave out what is zero, against torch's dense ones, in double precision."""

import numba
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.model.kernels import events
from neurotarget.model.kernels.depthwise import depthwise
from neurotarget.model.kernels.lif import lif
from neurotarget.model.kernels.normalised_lif import normalised_lif
from neurotarget.model.kernels.turn import turn
from neurotarget.model.networks.parts import Linear


def drawn(steps, samples, inputs, outputs, taps, density=0.2):
    x = torch.randn(steps, samples, inputs).double() * (torch.rand(steps, samples, inputs) < density)
    return x, torch.randn(outputs, inputs, taps).double(), torch.randn(outputs).double()


def by_torch(x, weight, bias, look_ahead):
    padded = F.pad(x.permute(1, 2, 0), (weight.shape[-1] - 1 - look_ahead, look_ahead))
    return F.conv1d(padded, weight, bias).permute(2, 0, 1)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 20), st.integers(1, 140)),
    outputs=st.sampled_from([4, 16, 64, 148]),
    taps=st.integers(1, 7),
    with_bias=st.booleans(),
    data=st.data(),
)
def test_output_and_gradients_equal_torch(seed, shape, outputs, taps, with_bias, data):
    look_ahead = data.draw(st.integers(0, taps - 1))
    torch.manual_seed(seed)
    tensors = drawn(*shape, outputs, taps)[: 3 if with_bias else 2]
    loss = torch.randn(*shape[:2], outputs).double()
    results = []
    for function in (events.weigh, by_torch):
        own = [tensor.clone().requires_grad_() for tensor in tensors]
        out = function(*own, *([] if with_bias else [None]), look_ahead)
        (out * loss).sum().backward()
        results.append((out.detach(), *(tensor.grad for tensor in own)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_hand_computed():
    x = torch.tensor([[2.0], [0.0], [4.0]])[:, :, None]  # three steps of one sample
    weight = torch.tensor([10.0, 100.0, 1000.0]).repeat(8, 1, 1)
    out = events.weigh(x, weight, torch.arange(8.0), 1)
    # tap 1 is the present: 100 x[t], with 10 x[t - 1] and 1000 x[t + 1]
    assert out[..., 0].flatten().tolist() == [200, 4020, 400]
    assert out[..., 7].flatten().tolist() == [207, 4027, 407]


def test_gradients_have_the_same_bits_with_any_number_of_threads():
    torch.manual_seed(0)
    x, weight, bias = (tensor.float() for tensor in drawn(60, 9, 70, 136, 3))
    found, before = [], numba.get_num_threads()
    for threads in (1, before):
        numba.set_num_threads(threads)
        own = weight.clone().requires_grad_()
        out = events.weigh(x, own, bias, 1)
        out.square().sum().backward()
        found.append((out.detach(), own.grad))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("change", "compiled"),
    [
        (lambda x, weight: (x, weight), True),
        (lambda x, weight: (x.float(), weight.float()), True),
        (lambda x, weight: (x + 1, weight), False),  # dense
        (lambda x, weight: (x.bfloat16(), weight.bfloat16()), False),
        (lambda x, weight: (x.float(), weight), False),
        (lambda x, weight: (x[0], weight), False),
        (lambda x, weight: (x, weight[:7]), False),  # 56 bytes
    ],
)
def test_what_the_compiled_pass_is_for(change, compiled):
    torch.manual_seed(0)
    x, weight, _ = drawn(10, 6, 20, 8, 1)
    assert events.pays(*change(x, weight)) is compiled


def test_reduced_precision_is_left_to_torch():
    torch.manual_seed(0)
    x, weight, _ = drawn(10, 6, 20, 8, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert not events.pays(x.float(), weight.float())


def test_evaluation_has_the_bits_of_torch():
    torch.manual_seed(0)
    x, weight, bias = (tensor.float() for tensor in drawn(30, 6, 70, 24, 1))
    layer = Linear(70, 24, bias=True)
    layer.load_state_dict({"weight": weight[..., 0], "bias": bias})
    expected = F.linear(x, weight[..., 0], bias)
    assert torch.equal(layer.eval()(x), expected)
    torch.testing.assert_close(layer.train()(x), expected, rtol=1e-5, atol=1e-5)
    assert not torch.equal(layer(x), expected)  # it is another order of summation that training has


OF_8 = torch.ones(8, dtype=torch.float64)


@pytest.mark.parametrize(
    "compiled",
    [
        lambda x: events.weigh(x, torch.ones(8, 8, 1).double(), None),
        lambda x: depthwise(x, torch.ones(8, 1, 3).double(), 1),
        lambda x: turn(x, torch.ones(4, 4).double(), torch.ones(4, 4).double()),
        lambda x: lif(x, torch.zeros(3, 8).double(), 0.5, 1.0, 0.0, 2.0)[0],
        lambda x: normalised_lif(x, OF_8, OF_8, OF_8.repeat(3, 1), (OF_8.numpy(), OF_8.numpy()), 0.5, 1.0, 2.0),
    ],
    ids=["weigh", "depthwise", "turn", "lif", "normalised_lif"],
)
def test_a_second_derivative_is_refused_for_it_would_lack_a_part(compiled):
    x = torch.ones(4, 3, 8).double().requires_grad_()
    compiled(x).sum().backward()
    assert x.grad.shape == x.shape
    with pytest.raises(RuntimeError, match="create_graph=True: the compiled layers"):
        torch.autograd.grad(compiled(x).sum(), x, create_graph=True)
