"""The commands and readers that the attack calls, and good files for each. With engine.py all that knows the project.

Each reader takes the path of a file and gives an exit code as the command line would: 0, 1 or 2. A command's own
`main` is called where it is cheap; of the heavy ones the function that reads the file, with the errors that its command
turns into exit code 2.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import h5py
import neurotarget.conversion.quantize as quantize
import neurotarget.conversion.to_netx as netx
import neurotarget.conversion.to_nir as to_nir
import neurotarget.hardware.energy.prices as prices
import neurotarget.hardware.place as place
import neurotarget.model.train as training
import neurotarget.sim.run as run
import nir
import numpy as np
from neurotarget.hardware.energy.claims import load_claims
from neurotarget.model.training import checkpoint
from neurotarget.sim.trace import Trace

from neurotarget.data import open_dataset
from neurotarget.data.wav import read_samples
from neurotarget.errors import NeurotargetError
from tests.fuzz import engine, graphs
from tests.torch_networks import tiny

RATE = 16_000
WIDTH, STEPS = 3, 12


def good_files(folder: Path) -> dict[str, list[Path]]:
    """A few small good files of every kind that the commands read; `write` makes those not shipped with the project."""
    root = Path(place.__file__).parent
    return {
        "nir": [folder / f"{i}.nir" for i in range(6)],
        "quantised nir": [folder / "small.q.nir"],
        "npz": [folder / "input.npz"],
        "trace": [folder / "trace.npz"],
        "checkpoint": [folder / "ckpt.pt"],
        "configuration": [folder / "train.toml"],
        "prices": sorted((root / "energy" / "prices").glob("*.toml"))[:4],
        "claims": [folder / "claims.toml"],
        "chip": sorted((root / "chips").glob("*.toml")),
        "wav": [folder / "word.wav"],
        "spikes h5": [folder / "shd" / "shd_train.h5"],
    }


def write(folder: Path) -> None:
    """Writes the good files."""
    folder.mkdir(parents=True)
    files = good_files(folder)
    written = 0
    for seed in range(1000):
        case = graphs.case(seed)
        if case.in_file and written < len(files["nir"]):
            nir.write(files["nir"][written], case.graph)
            np.savez(files["nir"][written].with_suffix(".npz"), input=case.frames.astype(np.float64))
            written += 1
    network, frames = small(), np.random.default_rng(0).normal(size=(2, STEPS, WIDTH))
    np.savez(files["npz"][0], input=frames, label=np.array([0, 1]), length=np.array([STEPS, 5]))
    nir.write(folder / "small.nir", network)
    quantised = engine.quantised(network, frames)
    nir.write(files["quantised nir"][0], quantised)
    spikes, output = engine.run(network, frames)
    lengths = np.full(2, STEPS)
    Trace(spikes, output, frames, lengths, lengths, {"backend": "reference"}).save(files["trace"][0])
    state = tiny()
    checkpoint.save(
        files["checkpoint"][0],
        checkpoint.Checkpoint(
            state.config, state.state_dict(), {}, "shd:missing", ("a", "b", "c", "d"), 0.01, checkpoint.versions()
        ),
    )
    files["configuration"][0].write_text(
        '[data]\nspec = "shd:missing"\n[model]\npreset = "tiny"\n[training]\nepochs = 2\nbatch = 4\nclip = 1.0\n'
        "learning_rate = 0.005\n[augmentation]\ntime_mask = 0.2\nfeature_mask = 3\nprobability = 0.5\n"
    )
    files["claims"][0].write_text(
        '[[claim]]\nname = "less"\nboundary = "operations"\nrelation = "at most"\nvalue = 1.0\nunit = "ratio"\n'
        'source = "a paper"\nsubject = { network = "spiking" }\nagainst = { network = "dense" }\n'
    )
    with wave.open(str(files["wav"][0]), "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
        sound.writeframes(bytes(4000))
    spike_file(files["spikes h5"][0])
    spike_file(folder / "shd" / "shd_test.h5")


def small() -> nir.NIRGraph:
    """Input, weights, a LIF of each kind, weights, Output."""
    full = np.ones(4)
    lif = nir.LIF(tau=full * 5e-4, r=full * 5, v_leak=full * 0, v_threshold=full, v_reset=full * 0)
    nodes = {
        "in": nir.Input(input_type={"input": np.array([WIDTH])}),
        "w": nir.Affine(weight=np.arange(12.0).reshape(4, 3) / 6 - 0.5, bias=full / 4),
        "lif": lif,
        "head": nir.Linear(weight=np.arange(8.0).reshape(2, 4) / 4 - 0.5),
        "out": nir.Output(output_type={"output": np.array([2])}),
    }
    edges = [("in", "w"), ("w", "lif"), ("lif", "head"), ("head", "out")]
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata={"dt": 1e-4})


def spike_file(path: Path) -> None:
    """Six utterances in the form of the Spiking Heidelberg Digits."""
    path.parent.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (6,), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (6,), h5py.vlen_dtype(np.uint16))
        for row in range(6):
            times[row] = np.sort(rng.uniform(0, 0.5, 20)).astype(np.float16)
            units[row] = rng.integers(0, 700, 20)
        file["labels"] = np.array([0, 1] * 3, np.uint16)
        file["extra/speaker"] = np.array([0, 0, 1, 1, 2, 2], np.uint16)
        file["extra/keys"] = np.array(["zero", "one"], h5py.string_dtype())


def reads(read: Callable[[Path], object]) -> Callable[[Path, Path], int]:
    """A reader: its errors are those that every command turns into an exit code."""

    def command(path: Path, good: Path) -> int:
        try:
            read(path)
        except NeurotargetError as error:
            return error.exit_code
        return 0

    return command


def run_nir(path: Path, good: Path) -> int:
    frames = good.with_suffix(".npz")
    frames = frames if frames.is_file() else good.with_name("input.npz")
    return run.main([str(path), "--input", str(frames), "--json"])


def place_nir(path: Path, good: Path) -> int:
    return place.main([str(path), "--chip", "loihi2", "--json"])


def quantize_nir(path: Path, good: Path) -> int:
    return quantize.main([str(path), "--calibrate", str(good.with_suffix(".npz")), "-o", f"{path}.q.nir"])


def to_netx(path: Path, good: Path) -> int:
    return netx.main([str(path), "-o", f"{path}.net"])


def run_npz(path: Path, good: Path) -> int:
    return run.main([str(good.with_name("small.nir")), "--input", str(path), "--trace", f"{path}.trace.npz"])


def place_on_chip(path: Path, good: Path) -> int:
    nodes = Path(path).with_name("small.nir")
    nir.write(nodes, small())
    return place.main([str(nodes), "--chip", str(path)])


def export(path: Path, good: Path) -> int:
    return to_nir.main([str(path), "-o", f"{path}.nir"])


def train(path: Path, good: Path) -> int:
    return training.main([str(path), "--out", f"{path}.run"])


COMMANDS: dict[str, list[Callable[[Path, Path], int]]] = {
    "nir": [run_nir, run_nir, place_nir, quantize_nir],
    "quantised nir": [run_nir, to_netx, place_nir],
    "npz": [run_npz],
    "trace": [reads(Trace.load)],
    "checkpoint": [export],
    "configuration": [train],
    "prices": [reads(prices.load_table)],
    "claims": [reads(load_claims)],
    "chip": [place_on_chip],
    "wav": [reads(lambda path: read_samples(path, (RATE,)))],
    "spikes h5": [reads(lambda path: open_dataset(f"shd:{path.parent}"))],
}
