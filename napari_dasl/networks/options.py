"""What options of different networks have in common: checks of them, each a ValueError with what was found."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003


def check_common(spatial_dims: int, dropout: float) -> None:
    """Refuse axes that no network has, and a dropout that leaves nothing or is none."""
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims is {spatial_dims}, and must be 2 or 3")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}, and must be at least 0 and below 1")


def check_counts(**counts: int | Sequence[int]) -> None:
    """Refuse what is below 1; the names are those of the options."""
    if any(count < 1 for given in counts.values() for count in ([given] if isinstance(given, int) else given)):
        *names, last = counts
        raise ValueError(f"{', '.join(names)} and {last} must be at least 1" if names else f"{last} must be at least 1")


def level_strides(
    channels: Sequence[int], strides: Sequence[Sequence[int] | int], spatial_dims: int, largest: int | None = None
) -> list[tuple[int, ...]]:
    """Return the stride on the way into each level along each axis, one level for each of *channels*.

    Parameters
    ----------
    channels : sequence of int
        Features of each level.
    strides : sequence
        Of each level one number for all axes, or one for each.
    spatial_dims : int
        Axes.
    largest : int, optional
        No stride may be larger.
    """
    if len(channels) != len(strides) or not channels:
        raise ValueError(f"{len(channels)} channels for {len(strides)} strides; give one stride per level")
    steps = [(stride,) * spatial_dims if isinstance(stride, int) else tuple(stride) for stride in strides]
    if any(len(step) != spatial_dims or min(step) < 1 or max(step) > (largest or max(step)) for step in steps):
        allowed = "of at least 1" if largest is None else f"from 1 to {largest}"
        raise ValueError(f"every stride must have {spatial_dims} numbers {allowed}")
    return steps
