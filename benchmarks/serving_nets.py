"""The nets that the benchmarks serve, as `pupil export` writes them; their weights are random."""

from itertools import pairwise

import torch
from torch import nn

from pupil_export.graph import Served, export_graph
from pupil_training.models import Classifier, InputSize, build_net
from pupil_training.settings import ModelSettings


def lenet() -> bytes:
    """LeNet-5: 0.42 million multiply-adds on 28×28."""
    return named("lenet5", InputSize(28, 28, 1), 10)


def mobilenet() -> bytes:
    """torchvision's MobileNetV3-small: 57 million multiply-adds on 224×224."""
    return named("torchvision/mobilenet_v3_small", InputSize(224, 224, 3), 1000)


def plain(widths: tuple[int, ...]) -> bytes:
    """3×3 convolutions of so many channels on 32×32, at full size to the end."""
    layers = [nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU()) for a, b in pairwise((3, *widths))]
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10)
    return exported(nn.Sequential(*layers, *head), InputSize(32, 32, 3), 10)


def named(name: str, size: InputSize, classes: int) -> bytes:
    torch.manual_seed(0)  # the same net every time, because a peer must serve it too
    return exported(build_net(ModelSettings(name=name), size, classes), size, classes)


def exported(net: nn.Module, size: InputSize, classes: int) -> bytes:
    model = Classifier(net, tuple(map(str, range(classes))), size)
    model.fit_to(torch.randint(0, 256, (16, *size), dtype=torch.uint8))
    return export_graph(Served(model))
