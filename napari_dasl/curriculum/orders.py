"""In which order samples enter training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Order = Literal["easy", "hard", "random"]
"""Easy to hard; hard to easy ("anti"); random, the control that every claim about the other two needs."""


def arrange(difficulty: ArrayLike, order: Order = "easy", seed: int = 0) -> NDArray[np.intp]:
    """The samples in the order in which a curriculum takes them in.

    ``hard`` is exactly ``easy`` reversed, but for samples whose difficulty is unknown: they come last in both, in the
    order in which they were given, because nothing speaks for seeing them early. ``random`` shuffles all of them.

    Parameters
    ----------
    difficulty : array (n,)
        Rises with hardness; NaN where it is not known. Equal ones keep the order in which they were given.
    order : {"easy", "hard", "random"}
    seed : int
        Of ``random``.

    Returns
    -------
    array (n,) int
        Indices, the first to learn from first.

    Raises
    ------
    InputError
        When there is no such order, or the difficulties are not one list.
    """
    values = np.asarray(difficulty, dtype=np.float64)
    if values.ndim != 1:
        raise InputError(f"Difficulties come as one list, not as an array of {values.ndim} axes.", "Give one per case.")
    if order not in get_args(Order):
        raise InputError(
            f"There is no order of training named {order!r}.", f"Choose one of {', '.join(get_args(Order))}."
        )
    if order == "random":
        return np.random.default_rng(seed).permutation(len(values))
    rising = np.argsort(values, kind="stable")  # numpy sorts NaN to the end
    known = int(np.count_nonzero(~np.isnan(values)))
    return rising if order == "easy" else np.concatenate([rising[:known][::-1], rising[known:]])
