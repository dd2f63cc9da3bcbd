"""The process that runs SANA-FE: `python -I child.py FOLDER`. Reads FOLDER/plan.json and writes FOLDER/result.json.

It may be another Python than the parent's, 3.10 or later, with nothing but SANA-FE installed: the standard library and
`sanafe` are all that it imports. With --version in place of FOLDER it says which SANA-FE there is.

The plan holds
    groups   name, neurons, unit, cores [[first, last + 1, tile, core on the tile]]; of those that are no inputs also
             decay, bias, threshold, reset, initial [neurons], reset_mode, and start, the step of the window outside of
             which they are silent (null: they never are)
    links    source, target, delay, rows, columns, weights
    samples  window, steps; played: group -> steps, neurons of each spike
The result holds `version`, `description_sha256` and per sample what `run_sample` returns.
"""

import ctypes
import hashlib
import importlib.metadata
import json
import signal
import sys
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h
NOT_INSTALLED = 3  # exit code
NEVER = 1e300
INPUT = "loihi_inputs"
SUMS = (
    "messages",
    "input_messages",
    "synaptic_operations",
    "east_west_hops",
    "north_south_hops",
    "blocked_s",
    "on_the_way_s",
    "updated",
    "fired",
)


def description(sanafe, folder, groups):
    """SANA-FE's own description of Loihi 1 as a file, with two changes; and the text of the original.

    A delay of a synapse is kept only by a dendrite that is computed at every step (`buffer_position: dendrite`, inside
    the unit); as shipped, its time is never up. And there are as many units for inputs as any core needs, because
    each takes memory on all 128 cores.
    """
    original = (Path(sanafe.__file__).parent / "examples" / "loihi.yaml").read_text()
    text = original.replace("buffer_position: soma", "buffer_position: dendrite")
    text = text.replace("buffer_inside_unit: false", "buffer_inside_unit: true")
    text = text.replace("loihi_inputs[0..1023]", f"loihi_inputs[0..{max(inputs_per_core(groups), 1) - 1}]")
    path = folder / "description.yaml"
    path.write_text(text)
    return path, original


def inputs_per_core(groups):
    """The most inputs on one core."""
    count: dict[tuple[int, ...], int] = {}
    for group in groups:
        for start, stop, *core in group["cores"] if group["unit"] == INPUT else ():
            count[tuple(core)] = count.get(tuple(core), 0) + stop - start
    return max(count.values(), default=0)


def network_of(sanafe, plan, tiles):
    """The network, mapped to cores.

    All synapses are of the first kind of the description, the dense one: a dendrite looks a delay up by the synapse's
    number, and each kind of synapse numbers its own from 0.
    """
    network = sanafe.Network()
    taken: dict[tuple[int, int], int] = {}
    for group in plan["groups"]:
        dendrite = "loihi_dendrites" if group["unit"] == INPUT else "loihi_dendrites_delay"
        made = network.create_neuron_group(
            group["name"], group["neurons"], default_dendrite_hw_name=dendrite, log_spikes=True
        )
        for start, stop, tile, place in group["cores"]:
            for neuron in range(start, stop):
                unit, attributes = group["unit"], {}
                if unit == INPUT:
                    taken[tile, place] = taken.get((tile, place), -1) + 1
                    unit = f"{unit}[{taken[tile, place]}]"
                else:
                    attributes = {"leak_decay": group["decay"][neuron], "reset": group["reset"][neuron]}
                    attributes |= {"reset_mode": group["reset_mode"], "reverse_reset": group["initial"][neuron]}
                    attributes |= {"reverse_reset_mode": "hard", **state(group, neuron, group["start"] is None)}
                made[neuron].set_attributes(soma_hw_name=unit, model_attributes=attributes)
                made[neuron].map_to_core(tiles[tile].cores[place])
    for link in plan["links"]:
        target, count = network.groups[link["target"]], len(link["weights"])
        if count:
            attributes = {"weight": link["weights"], "delay": [link["delay"]] * count}
            pairs = list(zip(link["rows"], link["columns"], strict=True))
            network.groups[link["source"]].connect_neurons_sparse(target, attributes, pairs)
    return network


def state(group, neuron, awake):
    """Attributes of a computed neuron inside its window, and outside: there it stays at its initial potential."""
    if awake:
        return {"threshold": group["threshold"][neuron], "bias": group["bias"][neuron], "reverse_threshold": -NEVER}
    return {"threshold": NEVER, "bias": 0.0, "reverse_threshold": NEVER}


def run_sample(sanafe, architecture, network, plan, sample):
    """One inference on a chip that starts afresh.

    Returns:
        `spikes` group -> [steps, neurons]; `energy_j` by part; `step_s`, duration of each step; and the sums `SUMS`.
        `blocked_s` and `on_the_way_s` are sums over messages, `updated` and `fired` count neurons.
    """
    chip = sanafe.SpikingChip(architecture)
    chip.load(network)
    mapped = chip.mapped_neuron_groups
    inputs = {group["name"] for group in plan["groups"] if group["unit"] == INPUT}
    driven = [Driven(mapped[name], played) for name, played in sample["played"].items() if name not in inputs]
    for name, played in sample["played"].items():
        if name not in inputs:
            continue
        trains = [[False] * sample["steps"] for _ in mapped[name]]
        for step, neuron in zip(played["steps"], played["neurons"], strict=True):
            trains[neuron][step] = True
        for neuron, train in zip(mapped[name], trains, strict=True):
            neuron.set_attributes(model_attributes={"spikes": train})
    result: dict[str, Any] = dict.fromkeys(SUMS, 0)
    result |= {"spikes": {group["name"]: [[], []] for group in plan["groups"]}, "energy_j": {}, "step_s": []}
    for step in range(sample["steps"]):
        for group in plan["groups"]:
            since = step - group["start"] if group.get("start") is not None else -1
            if since in (0, sample["window"]):
                for i, neuron in enumerate(mapped[group["name"]]):
                    neuron.set_attributes(model_attributes=state(group, i, since == 0))
        for group in driven:
            group.play(step)
        add(result, step, chip.sim(1, spike_trace=True, perf_trace=True, message_trace=True), inputs)
    return result


class Driven:
    """Neurons that fire when they are told to, by a bias above their threshold in that step alone.

    An input of SANA-FE would do, did it not refuse all that reaches it.
    """

    def __init__(self, mapped, played):
        self.mapped, self.biased = mapped, set()
        self.times: dict[int, set[int]] = {}
        for step, neuron in zip(played["steps"], played["neurons"], strict=True):
            self.times.setdefault(step, set()).add(neuron)

    def play(self, step):
        """Sets the biases of a step."""
        firing = self.times.get(step, set())
        for neuron in firing ^ self.biased:
            self.mapped[neuron].set_attributes(model_attributes={"bias": float(neuron in firing)})
        self.biased = firing


def add(result, step, found, inputs):
    """Adds what one step gave."""
    for fired in found["spike_trace"][0]:
        steps, neurons = result["spikes"][fired.group_name]
        steps.append(step)
        neurons.append(fired.neuron_offset)
    for part, energy in found["energy"].items():
        result["energy_j"][part] = result["energy_j"].get(part, 0.0) + energy
    result["step_s"].append(found["sim_time"])
    result["updated"] += found["perf_trace"]["updated"][0]
    result["fired"] += found["perf_trace"]["fired"][0]
    for message in found["message_trace"][0]:
        if not message["placeholder"]:
            result["messages"] += 1
            result["input_messages"] += message["src_neuron_group_id"] in inputs
            result["synaptic_operations"] += message["spikes"]
            result["east_west_hops"] += abs(message["src_x"] - message["dest_x"])
            result["north_south_hops"] += abs(message["src_y"] - message["dest_y"])
            result["blocked_s"] += message["blocking_delay"]
            result["on_the_way_s"] += message["network_delay"]


def main(argument):
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        import sanafe
    except ModuleNotFoundError as error:
        if error.name != "sanafe":
            raise
        raise SystemExit(NOT_INSTALLED) from error
    version = importlib.metadata.version("sanafe")
    if argument == "--version":
        print(version)
        return
    folder = Path(argument)
    plan = json.loads((folder / "plan.json").read_text())
    path, original = description(sanafe, folder, plan["groups"])
    architecture = sanafe.load_arch(path)
    network = network_of(sanafe, plan, architecture.tiles)
    samples = [run_sample(sanafe, architecture, network, plan, sample) for sample in plan["samples"]]
    digest = hashlib.sha256(original.encode()).hexdigest()
    result = {"version": version, "description_sha256": digest, "samples": samples}
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
