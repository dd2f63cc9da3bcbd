"""A NIR file of any tool: run it and count what it did. Needs no PyTorch.

python examples/third_party_file.py
"""

import networks

import neurotarget

networks.write("network.nir")  # yours: nir.write, snnTorch's export_to_nir, Norse's to_nir, sinabs' to_nir
trace = neurotarget.run("network.nir", networks.frames())
layers = neurotarget.count("network.nir", trace)

print(f"{'layer':10}{'kind':10}{'spikes':>10}{'additions':>12}{'multiplications':>18}{'if dense':>12}")
for layer in layers:
    spikes = "" if layer.spikes is None else layer.spikes
    print(f"{layer.name:10}{layer.kind:10}{spikes:>10}{layer.acs:>12}{layer.macs:>18}{layer.dense_macs:>12}")
print(f"per sample: {sum(layer.synops for layer in layers) / trace.samples:.0f} synaptic operations")
