"""Does "less energy than the dense network" hold, with and without memory? Needs no PyTorch.

    python examples/check_a_claim.py

The same from the command line, once the files are there:

    python -m hardware.report network.nir --input input.npz --claims claims.toml --out report
"""

from pathlib import Path

import networks
import numpy as np
from neurotarget.hardware.report import main

CLAIM = """
[[claim]]
name = "takes at most half of the dense network, {boundary}"
boundary = "{boundary}"
relation = "at most"
value = 0.5
unit = "ratio"
source = "an example"
subject = {{ network = "spiking" }}
against = {{ network = "dense" }}
"""

networks.write("network.nir")
np.savez("input.npz", input=networks.frames())
Path("claims.toml").write_text("".join(CLAIM.format(boundary=boundary) for boundary in ("operations", "memory")))

arguments = ["network.nir", "--input", "input.npz", "--claims", "claims.toml", "--lava-samples", "0", "--out", "report"]
raise SystemExit(main(arguments))
