"""Passes with dropout left on: the network asked several times, each time with other values dropped.

Gal and Ghahramani, "Dropout as a Bayesian approximation", ICML 2016. Only the dropout of a network goes into training
mode; its norm layers stay as they were trained, so that a pass differs from the next by what is dropped alone.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def dropouts(network: nn.Module) -> list[nn.Module]:
    """The parts of a network that drop values, those with a rate of 0 left out.

    Parameters
    ----------
    network : torch module
    """
    return [part for part in network.modules() if isinstance(part, DROPOUT) and part.p > 0]


@contextmanager
def dropping(network: nn.Module, seed: int | None) -> Iterator[None]:
    """Leave dropout on inside the block, with random numbers of its own; do nothing without a seed.

    Parameters
    ----------
    network : torch module
        In evaluation mode; its dropout comes back in the mode it came in.
    seed : int or None
        The same seed drops the same values. The random numbers of the rest of the program go on as if nothing had
        been drawn.
    """
    if seed is None:
        yield
        return
    modes = [(part, part.training) for part in dropouts(network)]
    places = {tensor.device for tensor in network.parameters() if tensor.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices=sorted(places, key=str)):
            torch.manual_seed(seed)
            for part, _ in modes:
                part.train()
            yield
    finally:
        for part, mode in modes:
            part.training = mode
