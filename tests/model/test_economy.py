"""Training without waste: a batch in parts, blocks computed again, products in fewer bits, batches made ahead."""

import itertools
import threading

import numpy as np
import pytest
import torch
from neurotarget.model import train
from neurotarget.model.networks.configuration import ATTENTIONS
from neurotarget.model.networks.delays import DelaysConfig
from neurotarget.model.networks.neuron import FusedLIFNode
from neurotarget.model.networks.parts import readout
from neurotarget.model.spikescr import SpikeSCRConfig
from neurotarget.model.training import checkpoint, loop, precision, recomputation, registry
from neurotarget.model.training.settings import Augmentation, Settings, Training
from torch import nn

from neurotarget.data import Dataset, Split
from tests.model.training_runs import rows_of, run, same_weights

NETWORKS = [
    SpikeSCRConfig.preset("tiny", blocks=2, dropout=0.3),
    SpikeSCRConfig.preset("tiny", attention="qk_token", dropout_sites="published"),
    SpikeSCRConfig.preset("tiny", twin=True),
    DelaysConfig.preset("delays_tiny"),
]


def made(config, kept=True):
    torch.manual_seed(0)
    network = registry.build(config).train()
    if not kept:
        recomputation.recompute_blocks(network)
    return network


def step(network, around=None):
    """Loss and gradients of a step of training, and the bytes that it keeps for the backward pass."""
    generator = torch.Generator().manual_seed(1)
    frames = torch.poisson(torch.full((3, 20, 12), 0.7), generator)
    lengths, labels = torch.tensor([20, 13, 17]), torch.tensor([0, 3, 1])
    kept = {}

    def pack(value):
        kept[value.data_ptr()] = value.nbytes
        return value

    torch.manual_seed(2)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        with around or precision.autocast("float32", torch.device("cpu")):
            scores = readout(network(frames, lengths), lengths)
        loss = nn.functional.cross_entropy(scores, labels)
    loss.backward()
    gradients = {name: value.grad for name, value in network.named_parameters() if value.requires_grad}
    return loss.detach(), gradients, sum(kept.values())


# ---- parts of a batch ------------------------------------------------------------------------------------------------


def trained(accumulate, labels=(0, 1, 0, 1, 1, 0, 1)):
    """A linear map after two batches of 7 and its row, in double precision."""

    class Summing(loop.Learner):
        sizes = ()

        def scores(self, frames, lengths):
            self.sizes = (*self.sizes, len(frames))
            return self.network(torch.from_numpy(frames.sum(axis=1)))

    torch.manual_seed(0)
    network = nn.Linear(3, 2).double()
    frames = np.random.default_rng(0).normal(size=(14, 5, 3))
    split = Split(frames, np.array(labels * 2), np.full(14, 5), tuple("abcdefghijklmn"))
    data = Dataset("made", ("a", "b"), (3,), 0.01, {"train": split, "validation": split})
    schedule = Training(batch=7, warmup_epochs=0, learning_rate=0.1, clip=0.5, accumulate=accumulate)
    learner = Summing(network, torch.optim.SGD(network.parameters(), lr=0.1), "")
    row = loop.train_epoch(learner, data, Settings("made", SpikeSCRConfig.preset("tiny"), schedule, Augmentation()), 1)
    row.pop("seconds")
    return torch.cat([value.detach().flatten() for value in network.parameters()]), row, learner.sizes


def test_a_batch_in_parts_is_the_batch():
    whole, row, sizes = trained(1)
    parts, same, part_sizes = trained(3)
    assert sizes[:2] == (7, 7) and part_sizes[:6] == (3, 2, 2, 3, 2, 2)
    torch.testing.assert_close(parts, whole, rtol=1e-13, atol=0)
    assert same == pytest.approx(row, rel=1e-13)


def test_more_parts_than_samples_are_refused(config, tmp_path, capsys):
    assert run(config, tmp_path / "run", "--set", "training.accumulate=9") == 2
    assert "training.batch 8 of 32 samples leaves some of 1 processes, or of training.accumulate 9 parts" in (
        capsys.readouterr().err
    )


# ---- blocks computed again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", NETWORKS)
def test_blocks_that_are_computed_again_change_no_bit(config):
    """Loss, gradients, running statistics and the random state after it, in two steps; and less is kept."""
    networks = made(config), made(config, kept=False)
    for _ in range(2):
        (loss, gradients, bytes_kept), (same, again, fewer) = (step(network) for network in networks)
        assert torch.equal(loss, same) and list(gradients) == list(again)
        for name, value in gradients.items():
            assert (value is None) == (again[name] is None) and (value is None or torch.equal(value, again[name])), name
    states = [network.state_dict() for network in networks]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert fewer < (0.3 if isinstance(config, SpikeSCRConfig) else 0.8) * bytes_kept
    assert any(value.any() for name, value in gradients.items() if "embed" in name or "hidden.0" in name)


def test_the_random_state_after_a_step_is_the_same():
    states = []
    for kept in (True, False):
        step(made(NETWORKS[0], kept))
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


# ---- fewer bits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config", [*NETWORKS, *(SpikeSCRConfig.preset("tiny", attention=attention) for attention in ATTENTIONS)]
)
def test_products_are_bfloat16_and_what_neurons_see_is_float32(config):
    network, products, currents, streams = made(config), [], [], []
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda *call: products.append(call[-1].dtype))
        if isinstance(module, nn.BatchNorm1d | FusedLIFNode):
            module.register_forward_hook(lambda *call: currents.append(call[-1].dtype))
    for block in registry.blocks_of(network):
        block.register_forward_hook(lambda *call: streams.append(call[-1].dtype))
    loss, gradients, _ = step(network, precision.autocast("bfloat16", torch.device("cpu")))
    assert loss.dtype == torch.float32 and set(streams) == {torch.float32}
    assert set(products) <= {torch.bfloat16} and set(currents) <= {torch.float32}
    assert products or isinstance(config, DelaysConfig)
    exact = step(made(config))[1]
    # A current that is rounded moves spikes, and all that follows: only what no spike lies behind can be compared.
    names = list(exact) if config.twin else ["head.weight"]
    one, other = (torch.cat([of[name].flatten() for name in names]) for of in (gradients, exact))
    assert one.dtype == torch.float32 and not torch.equal(one, other)
    assert nn.functional.cosine_similarity(one, other, dim=0) > 0.9


def test_what_tf32_sets_is_taken_back():
    def now():
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    before = now()
    with pytest.raises(KeyError), precision.products("tf32"):
        assert now() == ("high", True)
        raise KeyError
    assert now() == before
    with precision.products("bfloat16"):
        assert now() == before


def test_all_of_it_trains_and_goes_on_and_is_judged_in_float32(config, tmp_path, monkeypatch):
    options = ["accumulate=2", "checkpointing=true", "precision=bfloat16"]
    options = [text for option in options for text in ("--set", f"training.{option}")]
    judged, whole = [], train.evaluate

    def evaluate(*arguments):
        judged.append(torch.is_autocast_enabled("cpu"))
        return whole(*arguments)

    monkeypatch.setattr(train, "evaluate", evaluate)
    assert run(config, tmp_path / "run", *options) == 0
    assert judged and not any(judged)
    assert run(config, tmp_path / "other", *options, "--set", "training.epochs=2") == 0
    last = checkpoint.load_content(tmp_path / "run" / "last.pt")
    assert all(value.dtype != torch.bfloat16 for value in last["state"].values())
    assert run(config, tmp_path / "plain") == 0
    assert not same_weights(tmp_path / "run" / "last.pt", tmp_path / "plain" / "last.pt")


# ---- batches made ahead ----------------------------------------------------------------------------------------------


def test_items_are_made_one_ahead_in_a_thread_and_in_their_order():
    threads, begun = set(), []

    def items():
        for number in range(5):
            threads.add(threading.current_thread().name)
            begun.append(number)
            yield number

    found = []
    for number in loop.prefetched(items()):
        found.append(number)
        assert len(begun) <= number + 2
    assert found == begun == [0, 1, 2, 3, 4]
    assert threading.current_thread().name not in threads and len(threads) == 1


def test_what_goes_wrong_while_a_batch_is_made_is_raised():
    def items():
        yield 1
        raise OSError("gone")

    ahead = loop.prefetched(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="gone"):
        next(ahead)
    assert next(itertools.chain(loop.prefetched(iter(())), ["nothing"])) == "nothing"


def test_batches_made_ahead_change_no_bit(config, tmp_path, monkeypatch):
    assert run(config, tmp_path / "run") == 0
    whole = loop.shown
    threads = set()

    def shown(*arguments):
        threads.add(threading.current_thread().name)
        return whole(*arguments)

    monkeypatch.setattr(loop, "shown", shown)
    monkeypatch.setattr(loop, "MADE_AHEAD", ("cpu",))
    assert run(config, tmp_path / "ahead") == 0
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "ahead")
    assert same_weights(tmp_path / "run" / "last.pt", tmp_path / "ahead" / "last.pt")
    assert threading.current_thread().name not in threads
