"""A step of training asks its device for no number, which would make a GPU wait: on the meta device there is none."""

import numpy as np
import pytest
import torch
from neurotarget.model.networks.delays import DelaysConfig
from neurotarget.model.networks.parts import moved
from neurotarget.model.spikescr import SpikeSCRConfig
from neurotarget.model.train import NetworkLearner, Task
from neurotarget.model.training import registry
from neurotarget.model.training.evaluation import answer_of
from neurotarget.model.training.labels import aimed_at
from neurotarget.model.training.settings import Training

META = torch.device("meta")
LENGTHS = np.array([20, 13, 7, 20])
CONFIGS = [
    SpikeSCRConfig.preset("tiny"),
    SpikeSCRConfig.preset("tiny", neuron="plif", final_lif=True),
    DelaysConfig.preset("delays_tiny", neuron="plif"),
]


@pytest.mark.parametrize("lengths", [LENGTHS, np.full(4, 20)], ids=["padded", "whole"])
@pytest.mark.parametrize("config", CONFIGS)
def test_a_step_asks_its_device_for_no_number(config, lengths):
    network = registry.build(config).to(META)
    learner = NetworkLearner(network.train(), Training(), Task())
    learner.begin_step(Training(), 0.0)
    labels = moved(torch.from_numpy(aimed_at(np.arange(4), 4, smoothing=0.1)), META)
    frames = np.ones((4, 20, 12), np.uint8)
    answer = answer_of(network, frames, lengths)
    loss = learner.task.loss(answer, labels, np.arange(4))
    assert answer.scores.is_meta and loss.is_meta
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(list(network.parameters()), 1.0)
    learner.optimizer.step()
    learner.end_step(1)
    assert norm.is_meta and all(value.grad is not None for value in network.parameters() if value.requires_grad)
    with pytest.raises(RuntimeError):
        loss.item()
