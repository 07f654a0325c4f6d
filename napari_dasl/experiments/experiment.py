"""What an experiment is: its arms, how one run of them is made, and how their rows are told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_dasl.errors import InputError
from napari_dasl.experiments.arms import Protocol, Row, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.experiments.arms import Arm
    from napari_dasl.reports.blocks import Picture, Table


@dataclass(frozen=True)
class Option:
    """Something else that an experiment can be told, as ``--set NAME=VALUE``.

    *parse* turns the text into a value; ValueError where it is none.
    """

    name: str
    sentence: str
    default: Any
    parse: Callable[[str], Any]


@dataclass(frozen=True)
class Findings:
    """What the rows of an experiment say.

    Attributes
    ----------
    words : tuple of str
        Sentences, the claim first.
    tables : tuple of Table
        The first is ``table.csv``, ours beside the published.
    pictures : tuple of (str, Picture)
        Each with the name of its file.
    numbers : mapping
        For ``result.json``; plain JSON values.
    """

    words: tuple[str, ...]
    tables: tuple[Table, ...]
    pictures: tuple[tuple[str, Picture], ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One comparison of a paper, to be made again.

    Attributes
    ----------
    name, title, sentence, paper : str
        ``sentence``: what is compared, for the head of the page.
    networks : tuple of str
        Those it can be made with; the first where nobody says.
    steps, seeds : int
        Where nobody says.
    arms : callable
        Protocol to all arms.
    perform : callable
        (protocol, run, report, cancelled) to the row of the run. It must go on where it was interrupted.
    tell : callable
        (protocol, rows) to :class:`Findings`; the rows may be of unfinished experiments, but there is one at least.
    prepare : callable, optional
        Protocol to protocol, once, before any run: what all runs share, such as the precision, difficulty scores.
    options : tuple of Option
    phantoms : str
        The kind of phantoms that ``--data phantoms`` makes; empty where it needs real scans.
    """

    name: str
    title: str
    sentence: str
    paper: str
    networks: tuple[str, ...]
    steps: int
    seeds: int
    arms: Callable[[Protocol], tuple[Arm, ...]]
    perform: Callable[[Protocol, Run, Report, CancelCheck], Row]
    tell: Callable[[Protocol, Sequence[Row]], Findings]
    prepare: Callable[[Protocol], Protocol] = lambda protocol: protocol
    options: tuple[Option, ...] = ()
    phantoms: str = ""

    def parsed(self, told: Mapping[str, str]) -> dict[str, Any]:
        """The options with what was *told*, as text.

        Raises
        ------
        InputError
            There is no such option, or a text is no value of it.
        """
        known = {option.name: option for option in self.options}
        values = {option.name: option.default for option in self.options}
        for name, text in told.items():
            if name not in known:
                raise InputError(
                    f"The experiment {self.name} has no setting {name!r}.", f"It has: {', '.join(known) or 'none'}."
                )
            try:
                values[name] = known[name].parse(text)
            except ValueError as error:
                raise InputError(f"{name}={text} cannot be used: {error}.", known[name].sentence) from error
        return values


def sides(text: str) -> tuple[int, int, int]:
    """Read ``40x56x40`` as (z, y, x); ValueError for anything else."""
    found = [int(side) for side in text.lower().replace("×", "x").split("x")]
    if len(found) != 3 or min(found) < 1:
        raise ValueError("three sides such as 40x56x40 are wanted")
    return (found[0], found[1], found[2])


def count(text: str) -> int:
    """Read a whole number from 0 up."""
    if int(text) < 0:
        raise ValueError("a whole number from 0 up is wanted")
    return int(text)


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    if not 0 <= float(text) <= 1:
        raise ValueError("a number from 0 to 1 is wanted")
    return float(text)


def choice(*names: str) -> Callable[[str], str]:
    """A reader of one of *names*."""

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"one of {', '.join(names)} is wanted")
        return text

    return read


def runs_of(arms: Sequence[Arm], seeds: Sequence[int], folds: int = 1) -> tuple[Run, ...]:
    """Every run, all arms of a seed before the next seed, so that what is there can be compared in pairs."""
    return tuple(Run(arm, seed, fold) for seed in seeds for fold in range(folds) for arm in arms)


def as_json(value: Any) -> Any:
    """Plain JSON values of *value*, as they come back from a file."""
    return json.loads(json.dumps(value, default=str, allow_nan=False))
