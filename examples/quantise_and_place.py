"""A NIR file in 8-bit integers, and on the cores of Loihi 2. Needs no PyTorch.

python examples/quantise_and_place.py
"""

import networks

import neurotarget

networks.write("network.nir")
frames = networks.frames()

neurotarget.quantize("network.nir", frames, "network.q.nir")
whole, real = neurotarget.run("network.q.nir", frames), neurotarget.run("network.nir", frames)
for name, spikes in real.spikes.items():
    print(f"{name}: {(spikes != whole.spikes[name]).sum()} places differ in integers, of {spikes.sum()} spikes")

fit = neurotarget.place("network.q.nir", "loihi2")
print(fit.sentence)
for core in fit.cores:
    print(f"core {core.index}: {', '.join(core.populations)}; {core.fullest:.0%} full")
