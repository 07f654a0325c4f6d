"""A network's weights as a file: safetensors, written whole or not at all, read without running code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from napari_dasl import networks
from napari_dasl.errors import ProjectError
from napari_dasl.training.state import store

if TYPE_CHECKING:
    from pathlib import Path

    from napari_dasl.training.plan import TrainingPlan


def build_network(plan: TrainingPlan, *, seed: int | None = None) -> nn.Module:
    """The plan's network with random weights; the same for the same seed, and torch's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed if seed is None else seed)
        return networks.build(plan.network, plan.in_channels, plan.out_channels, **plan.network_options)


def save_network(network: nn.Module, path: Path) -> None:
    """Write the weights of *network*.

    Raises
    ------
    StorageError
        Where the file cannot be written; an older one stays as it was.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    store(path, save(tensors))


def load_weights(network: nn.Module, path: Path) -> None:
    """Put the weights of the file *path* into *network*.

    Raises
    ------
    ProjectError
        Where the file is missing, damaged, or belongs to another network.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ProjectError(
            f"The weights {path} cannot be read: {error}.", "Choose another model, or train this one again."
        ) from error
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ProjectError(
            f"The weights {path} belong to a network of another shape.",
            "Use the training plan they were trained with, or start from scratch.",
        ) from error


def load_network(path: Path, plan: TrainingPlan, device: torch.device | str = "cpu") -> nn.Module:
    """The plan's network with the weights of the file *path*, on *device*, ready to predict.

    Raises
    ------
    ProjectError
        As :func:`load_weights`.
    """
    network = build_network(plan)
    load_weights(network, path)
    return network.to(device).eval()
