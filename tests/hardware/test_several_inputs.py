"""A network with two Inputs is counted and placed as the same network with one."""

import nir
import numpy as np
from neurotarget.hardware.chips.limits import load_chip
from neurotarget.hardware.chips.placement import place
from neurotarget.hardware.chips.populations import chip_network
from neurotarget.hardware.chips.rules import check
from neurotarget.hardware.counts.layers import count
from neurotarget.sim import reference
from neurotarget.sim.graph import load
from neurotarget.sim.schedule import schedule

from tests import third_parties

COUNTED = ("events", "synops", "acs", "macs", "synapses", "neuron_updates", "active_updates", "biases", "state")


def test_two_inputs_cost_what_one_does():
    two = third_parties.build("two inputs")
    ear, eye = (two.nodes[name].weight for name in ("from_ear", "from_eye"))
    layers = {"whole": nir.Linear(np.concatenate([ear, eye], axis=1)), "lif": third_parties.lif()}
    one = third_parties.chain((third_parties.FEATURES,), layers, (third_parties.NEURONS,))
    frames, chip = third_parties.frames_for(two), load_chip("loihi1")
    counts, uses = [], []
    for network in (load(two), load(one)):
        found = count(network, reference.run(network, frames))
        counts.append({key: sum(getattr(layer, key) for layer in found) for key in COUNTED})
        placement = place(chip_network(network, schedule(network, frames.shape[1]), chip), chip, 8)
        assert not check(placement)
        (core,) = placement.cores
        uses.append(core.use)
    assert counts[0] == counts[1] and counts[0]["synops"] > 0
    assert uses[0] == uses[1] and uses[0]["input_axons"] == third_parties.FEATURES
