"""The console script: `neurotarget VERB ...` is `python -m MODULE ...`."""

from __future__ import annotations

import importlib
import sys

VERBS = {
    "train": ("model.train", "train a network"),
    "distill": ("model.distill", "distil a network to fewer steps (PTCD)"),
    "ablation": (
        "neurotarget.model.ablation",
        "compare PTCD with other ways to the same steps: accuracy, operations, energy",
    ),
    "evaluate": ("model.evaluate", "measure a checkpoint on a data set"),
    "to-nir": ("conversion.to_nir", "write a checkpoint as a NIR file, checked against PyTorch"),
    "quantize": ("conversion.quantize", "write a NIR file in integers for Lava's fixed-point arithmetic"),
    "to-netx": ("conversion.to_netx", "write a quantised NIR file as the HDF5 that lava-dl's NetX loads"),
    "run": ("sim.run", "run a NIR file on the reference simulator or on Lava"),
    "compare": ("sim.compare", "compare two back ends spike for spike"),
    "place": ("hardware.place", "place a NIR file on the cores of a chip: what fits, what does not"),
    "report": ("hardware.report", "count, price and compare: report.html and report.json"),
}


def main(argv: list[str] | None = None) -> int:
    """Runs one verb and gives its exit code: 0 good, 1 a check failed, 2 bad input or usage."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] in VERBS:
        # Only what the verb needs: torch takes seconds.
        module = importlib.import_module(f"neurotarget.{VERBS[arguments[0]][0]}")
        return int(module.main(arguments[1:]))
    usage = "\n".join(f"  {verb:10} {text}" for verb, (_, text) in VERBS.items())
    print(f"usage: neurotarget VERB ...\n\n{usage}\n\nexample: neurotarget run model.nir --input synth --samples 10")
    return 0 if arguments[:1] in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main())
