"""What torch and numpy say when memory runs out, as the one error that the rest of the program knows."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from napari_dasl.errors import OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of torch or numpy means that an allocation failed.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bool
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # On a processor torch raises a plain RuntimeError, which only its text tells from other ones.
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


@contextmanager
def memory_guard(work: str, hint: str) -> Iterator[None]:
    """Turn a failed allocation inside the block into :class:`~napari_dasl.errors.OutOfMemory`.

    Parameters
    ----------
    work : str
        What was being done, such as "predicting a scan of 134 × 512 × 512 voxels".
    hint : str
        What to do about it.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise OutOfMemory(f"Memory ran out while {work}.", hint) from error
