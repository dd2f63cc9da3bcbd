"""Twelve networks of SpikingJelly, those of its model zoo among them, with few channels and small frames."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from spikingjelly.activation_based.model import parametric_lif_net, sew_resnet, spiking_resnet, spiking_vgg
from torch import nn

from tests.conversion.frameworks import Row, louder
from tests.torch_networks import lif, lively


def narrow(network: nn.Module, channels: int) -> nn.Module:
    """A network of the zoo with at most so many channels: all its layers are made anew."""
    for name, module in list(network.named_modules()):
        parent = network.get_submodule(name.rpartition(".")[0])
        if isinstance(module, layer.Conv2d):
            into = module.in_channels if module.in_channels < 4 else min(module.in_channels, channels)
            made: nn.Module = layer.Conv2d(
                into,
                min(module.out_channels, channels),
                module.kernel_size,
                module.stride,
                module.padding,
                bias=module.bias is not None,
            )
        elif isinstance(module, layer.BatchNorm2d):
            made = layer.BatchNorm2d(min(module.num_features, channels))
        else:
            continue
        setattr(parent, name.rpartition(".")[2], made)
    return network


class Residual(nn.Module):
    """A residual sum, written by hand, in either step mode."""

    def __init__(self, step_mode: str) -> None:
        super().__init__()
        self.into, self.first, self.second = layer.Linear(6, 16), neuron.LIFNode(), neuron.LIFNode()
        self.between, self.out = layer.Linear(16, 16), layer.Linear(16, 4)
        functional.set_step_mode(self, step_mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(self.into(x))
        x = x + self.second(self.between(x))
        return self.out(x)


class Beside(nn.Module):
    """Two branches side by side: torch.cat."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(layer.Linear(6, 8), neuron.IFNode())
        self.right = nn.Sequential(layer.Linear(6, 5), neuron.LIFNode(tau=3.0, decay_input=False))
        self.out, self.fires = layer.Linear(13, 4), neuron.LIFNode()
        functional.set_step_mode(self, "m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fires(self.out(torch.cat([self.left(x), self.right(x)], dim=-1))).mean(0)


def residual(step_mode: str) -> nn.Module:
    torch.manual_seed(0)
    return louder(Residual(step_mode), 6)


def resnet() -> nn.Module:
    torch.manual_seed(0)
    network = spiking_resnet.SpikingResNet(
        spiking_resnet.BasicBlock, [1, 1, 1, 1], num_classes=5, spiking_neuron=neuron.IFNode
    )
    network = narrow(network, 6)
    network.fc = layer.Linear(6, 5)
    functional.set_step_mode(network, "m")
    return lively(network)


def sew(cnf: str) -> nn.Module:
    torch.manual_seed(0)
    network = sew_resnet.SEWResNet(
        sew_resnet.BasicBlock, [1, 1, 1, 1], num_classes=5, cnf=cnf, spiking_neuron=neuron.IFNode
    )
    network = narrow(network, 6)
    network.fc = layer.Linear(6, 5)
    functional.set_step_mode(network, "m")
    return lively(network)


def vgg() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        spiking_vgg.SpikingVGG.make_layers(
            [4, "M", 6, 6, "M"], batch_norm=True, neuron=neuron.LIFNode, surrogate_function=surrogate.ATan()
        ),
        layer.AdaptiveAvgPool2d((2, 2)),
        layer.Flatten(),
        layer.Linear(24, 10),
        neuron.LIFNode(),
        layer.Dropout(),
        layer.Linear(10, 5),
    )
    functional.set_step_mode(network, "m")
    return louder(lively(network), 3)


def gesture() -> nn.Module:
    torch.manual_seed(0)
    network = parametric_lif_net.DVSGestureNet(channels=4, spiking_neuron=neuron.ParametricLIFNode)
    network.conv_fc[-6] = layer.Linear(4, 512)  # frames of 32 x 32 in place of 128 x 128
    functional.set_step_mode(network, "m")
    return louder(lively(network), 3)


def recurrent() -> nn.Module:
    torch.manual_seed(0)
    return louder(
        nn.Sequential(
            nn.Linear(6, 8),
            layer.LinearRecurrentContainer(neuron.LIFNode(), 8, 8),
            layer.ElementWiseRecurrentContainer(neuron.IFNode(v_threshold=1.5), lambda y, x: x + y),
            nn.Linear(8, 4),
        ),
    )


def beside() -> nn.Module:
    torch.manual_seed(0)
    return louder(Beside())


def voting() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        layer.MultiStepContainer(nn.Linear(6, 12), neuron.LIFNode()),
        layer.Linear(12, 20, step_mode="m"),
        lif(tau=3.0),
        layer.VotingLayer(5, step_mode="m"),
    )
    return louder(network)


def wrapped() -> nn.Module:
    torch.manual_seed(0)
    return lively(
        nn.Sequential(
            layer.SeqToANNContainer(nn.Conv2d(2, 4, 3, padding="same", bias=False), nn.BatchNorm2d(4)),
            neuron.IFNode(step_mode="m"),
            layer.SeqToANNContainer(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 5)),
            neuron.LIFNode(step_mode="m", v_threshold=0.2),
            layer.SeqToANNContainer(nn.Linear(5, 3)),
            neuron.NonSpikingLIFNode(decode="mean-mem"),
        )
    )


def currents() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(6, 12),
        neuron.CUBALIFNode(),
        nn.Linear(12, 8),
        neuron.IFNode(),
        nn.Linear(8, 4),
        neuron.LIFNode(v_threshold=0.3),
    )
    return louder(network, 5)


def soft() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        layer.Linear(6, 12),
        neuron.LIFNode(v_reset=None),
        layer.Linear(12, 8),
        neuron.IFNode(v_reset=None, v_threshold=0.6),
        layer.Linear(8, 4),
    )
    functional.set_step_mode(network, "m")
    return louder(network)


def below() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        layer.Linear(6, 12), neuron.LIFNode(v_reset=-0.5), layer.Linear(12, 8), neuron.IFNode(v_reset=-0.5)
    )
    functional.set_step_mode(network, "m")
    return louder(network)


ROWS = [
    Row("residual sum, one step at a time", lambda: residual("s"), (6,)),
    Row("residual sum, all steps at once", lambda: residual("m"), (6,)),
    Row("spiking ResNet (zoo, 4 blocks)", resnet, (3, 32, 32)),
    Row("SEW ResNet, ADD (zoo, 4 blocks)", lambda: sew("ADD"), (3, 32, 32)),
    Row("SEW ResNet, AND (zoo, 4 blocks)", lambda: sew("AND"), (3, 32, 32)),
    Row("SEW ResNet, IAND (zoo, 4 blocks)", lambda: sew("IAND"), (3, 32, 32)),
    Row("spiking VGG (zoo's layers), adaptive pool", vgg, (3, 8, 8)),
    Row("DVSGestureNet (zoo, 4 channels): ParametricLIF, voting", gesture, (2, 32, 32)),
    Row("LinearRecurrentContainer, ElementWiseRecurrentContainer", recurrent, (6,)),
    Row("two branches and torch.cat, IF beside LIF, mean over time", beside, (6,)),
    Row("MultiStepContainer, VotingLayer", voting, (6,)),
    Row("SeqToANNContainer, padding 'same', NonSpikingLIFNode read-out", wrapped, (2, 4, 4)),
    Row("CUBALIF, IF and LIF in one", currents, (6,)),
    Row("soft reset (v_reset=None)", soft, (6,)),
    Row("v_reset=-0.5", below, (6,)),
]
