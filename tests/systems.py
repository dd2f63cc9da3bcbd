"""A tiny network of each of the systems that SpikeSCR came from."""

import torch
from neurotarget.model.training import registry

from tests.torch_networks import lively

# name -> preset and changed fields
SYSTEMS = {
    "plif": ("tiny", {"neuron": "plif", "tau": 3.0}),
    "baseline": ("tiny", {"block_type": "spikformer", "attention": "spikformer", "blocks": 2}),
    "final_lif": ("tiny", {"final_lif": True}),
    "no_norm": ("tiny", {"batch_normalisation": "none"}),
    "published_without_norm": ("tiny", {"batch_normalisation": "without_embedding_and_gate"}),
    "layer_norm": ("tiny", {"layer_normalisation": True}),
    "only_layer_norm": ("tiny", {"layer_normalisation": True, "batch_normalisation": "none"}),
    "delays_plif": ("delays_tiny", {"neuron": "plif", "tau": 2.0}),
    "delays_fixed": ("delays_tiny", {"delays": "fixed"}),
    "snn": ("delays_tiny", {"delays": "none"}),
    "sparse": ("delays_tiny", {"sparsity": 0.5}),
    "ann": ("delays_tiny", {"delays": "none", "twin": True}),
}


def made(name, seed=0, **changes):
    """A network that spikes everywhere, as after training, its time constants apart from each other."""
    preset, fields = SYSTEMS[name]
    torch.manual_seed(seed)
    model = lively(registry.build(registry.preset(preset, **{**fields, **changes})))
    with torch.no_grad():
        for parameter, value in model.named_parameters():
            if parameter.endswith(".w"):
                value.uniform_(-1.0, 1.0)
            elif "batch_normalisation" in fields and parameter.endswith("weight") and value.dim() > 1:
                value.mul_(2.0).add_(0.5 * value.std())  # sums of few spikes would not reach the thresholds
    return model


def counts(samples, steps, rate=0.8, seed=1):
    return torch.poisson(torch.full((samples, steps, 12), rate), generator=torch.Generator().manual_seed(seed))
