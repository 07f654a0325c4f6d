"""The ranking strategies by name, each put together from a value, and a selection of :mod:`.selections`.

A ranking has three steps: a voxel *map* (:mod:`~napari_dasl.active.uncertainty`, :mod:`~napari_dasl.active.passes`),
its *aggregation* to one value per scan (:mod:`~napari_dasl.active.aggregations`), both measured when a scan is
predicted, and the *selection*, which is here. To add a strategy, name its value and its selection in
:data:`STRATEGIES`; the command line, the window and the configuration read the names from there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.active import selections, words
from napari_dasl.active.candidates import Candidate, CandidateSignatures
from napari_dasl.active.selections import Selection
from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_dasl.active.regions import RegionKind
    from napari_dasl.active.similarity import Signatures

PASSES = frozenset({"mutual_information", "disagreement", "pairwise_dice"})
"""The scores of a prediction that take several passes with dropout left on."""

_EMPTY_LOW, _EMPTY_HIGH = 0.1, 0.9


@dataclass(frozen=True, slots=True)
class Settings:
    """What a strategy may be told.

    Attributes
    ----------
    beta : float
        Exponent of the similarity in Eq. 3.
    seed : int
        Of anything random.
    query : int
        Scans in the batch.
    round : int
        How many queries came before, for schedules and for noise that differs from round to round.
    power : float
        First exponent of power sampling.
    labelled : signatures or None
        Of the labelled scans, under the same model.
    chosen : frozenset of int
        Positions of scans that are in the batch already, whatever the strategy says.
    """

    beta: float = 1.0
    seed: int = 0
    query: int = 20
    round: int = 0
    power: float = 8.0
    labelled: Signatures | None = None
    chosen: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Pool:
    """The scans that a strategy selects from, in the order of their case ids.

    Attributes
    ----------
    candidates : sequence of D Candidate
        All seen by a model.
    value : array, (D,)
        As the prediction gave it.
    empty : array, bool, (D,)
        The network drew nothing.
    settings : Settings
    """

    candidates: Sequence[Candidate]
    value: NDArray[np.float64]
    empty: NDArray[np.bool_]
    settings: Settings

    def placed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """*values* with the empty predictions put where the largest foreground probability m says.

        At the quantile 0.1 + 0.8·min(2m, 1) of the others; where all are empty, the value is m.
        """
        if not self.empty.any():
            return values
        hints = np.array([one.max_foreground or 0.0 for one in self.candidates], dtype=np.float64)[self.empty]
        result = values.copy()
        if self.empty.all():
            result[:] = hints
        else:
            place = _EMPTY_LOW + (_EMPTY_HIGH - _EMPTY_LOW) * np.clip(2 * hints, 0, 1)
            result[self.empty] = np.quantile(values[~self.empty], place)
        return result

    def noise(self, purpose: str) -> NDArray[np.float64]:
        """Standard Gumbel noise, (D,), from seed, round, purpose and case alone."""
        drawn = [chance(f"{purpose}:{self.settings.round}:{one.case}", self.settings.seed) for one in self.candidates]
        uniform = np.clip(np.array(drawn, dtype=np.float64), 1e-15, None)
        return -np.log(-np.log(uniform))

    @property
    def exponent(self) -> float:
        """β_t of power sampling in this round."""
        return selections.power_exponent(self.settings.round, self.settings.power)


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to order a pool.

    Attributes
    ----------
    title : str
        In the words of the window.
    value : function or None
        What a candidate is worth by its prediction; None for a control that never looks at one.
    select : function
        From a pool to its order.
    part : str
        Under which name the value is kept among the parts of a score.
    needs : tuple of str
        Scores that a prediction must hold beside the uncertainty over a region; some of them take several passes
        (:data:`PASSES`).
    region : {"volume", "body", "lesion"} or None
        Where the uncertainty of the candidates is to be averaged; None leaves it to the configuration.
    labelled : bool
        Compares with the signatures of the labelled scans.
    words : str
        Why a scan is where it is, where uncertainty is not the reason.
    """

    title: str
    value: Callable[[Candidate], float] | None
    select: Callable[[Pool], Selection]
    part: str = "uncertainty"
    needs: tuple[str, ...] = ()
    region: RegionKind | None = None
    labelled: bool = False
    words: str = ""

    @property
    def uses_prediction(self) -> bool:
        """Whether it looks at predictions at all."""
        return self.value is not None

    @property
    def passes(self) -> bool:
        """Whether a prediction for it takes several passes with dropout left on."""
        return bool(PASSES.intersection(self.needs))


# -- values: what a prediction makes a scan worth -------------------------------------------------------------------


def of_uncertainty(candidate: Candidate) -> float:
    """U of the scan: Eq. 2 of Wang et al. (MICCAI 2018) over the region of the strategy or of the configuration."""
    if candidate.uncertainty is None:
        raise InputError(f"No model has looked at case {candidate.case}.", "Predict the case first.")
    return candidate.uncertainty


def of(score: str) -> Callable[[Candidate], float]:
    """The value that is the stored *score* of a prediction."""

    def value(candidate: Candidate) -> float:
        if score not in candidate.scores:
            raise InputError(f"The prediction of case {candidate.case} holds no {score}.", "Predict the case again.")
        return candidate.scores[score]

    return value


def of_disagreement(candidate: Candidate) -> float:
    """One minus the mean pairwise Dice of the passes."""
    return 1 - of("pairwise_dice")(candidate)


# -- selections over a pool -----------------------------------------------------------------------------------------


def by_value(pool: Pool) -> Selection:
    """The largest value first."""
    return selections.top(pool.placed(pool.value))


def by_density(pool: Pool) -> Selection:
    """Similarity-weighted value, Eq. 3 of Wang et al. (MICCAI 2018), with the exponent β of the settings."""
    found = selections.density(pool.value, CandidateSignatures(pool.candidates), pool.settings.beta)
    return Selection(pool.placed(found.score), found.parts)


def by_power(pool: Pool) -> Selection:
    """Power sampling of the value with the exponent of the round."""
    return selections.power(pool.placed(pool.value), pool.exponent, pool.noise("power"))


def by_k_centre(pool: Pool) -> Selection:
    """Weighted k-centre: valuable, and unlike what is labelled or already in the batch."""
    return selections.k_centre(
        pool.placed(pool.value),
        CandidateSignatures(pool.candidates),
        pool.settings.labelled,
        pool.settings.query - len(pool.settings.chosen),
        sorted(pool.settings.chosen),
    )


def by_class(pool: Pool) -> Selection:
    """Class-stratified power sampling (ClaSP)."""
    classes = {len(one.class_scores) for one in pool.candidates}
    if len(classes) != 1 or classes == {0}:
        lacking = next((one.case for one in pool.candidates if not one.class_scores), pool.candidates[0].case)
        raise InputError(f"The prediction of case {lacking} holds no class_scores.", "Predict the case again.")
    scores = np.array([one.class_scores for one in pool.candidates], dtype=np.float64)
    found = selections.stratified(
        pool.placed(pool.value),
        scores,
        pool.empty,
        pool.settings.query - len(pool.settings.chosen),
        pool.exponent,
        np.stack([pool.noise(f"class {index}") for index in range(1 + scores.shape[1])]),
        pool.settings.chosen,
    )
    named = {f"class_score_{index + 1}": scores[:, index] for index in range(scores.shape[1])}
    return Selection(found.score, {**found.parts, **named}, found.order)


def by_foreground(pool: Pool) -> Selection:
    """A draw in proportion to the predicted foreground; scans without any follow."""
    drawn = np.array([chance(one.case, pool.settings.seed) for one in pool.candidates], dtype=np.float64)
    return selections.foreground_draw(pool.value, pool.empty, pool.noise("foreground"), drawn)


def by_chance(pool: Pool) -> Selection:
    """A random order, the same in each round but for the scans that left: the control that every claim needs."""
    drawn = [chance(candidate.case, pool.settings.seed) for candidate in pool.candidates]
    return Selection(np.array(drawn, dtype=np.float64))


DEFAULT = Strategy(
    "Uncertainty around what the network found, typical scans first", of_uncertainty, by_density, region="lesion"
)
"""What the list is ordered by where nobody chose: Eq. 3 with the uncertainty taken around what the network found.

Chosen on measurements on the hippocampus of the Medical Segmentation Decathlon (``docs/experiments/al``, five paired
seeds), where rounds go on from the active model. Uncertainty alone asks for small and odd scans first and loses to a
random choice, most of all around what was found (AUBC 0.8417 against 0.8453); times the similarity to the other scans
it does not (0.8457). On sarcoma PET (``docs/experiments/sts``, three seeds) no order is told apart from another. The
region is that of the finding because a mean over the volume measures the field of view.
"""

STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "default": DEFAULT,
        "dasl": Strategy("Similarity-weighted uncertainty (DASL)", of_uncertainty, by_density),
        "uncertainty": Strategy("Uncertainty", of_uncertainty, by_value),
        "power": Strategy("Uncertainty, drawn by power sampling", of_uncertainty, by_power, region="lesion"),
        "k-centre": Strategy(
            "Uncertain and unlike what is labelled", of_uncertainty, by_k_centre, region="lesion", labelled=True
        ),
        "bald": Strategy(
            "Doubt between passes (BALD)",
            of("mutual_information"),
            by_value,
            part="mutual_information",
            needs=("mutual_information",),
        ),
        "disagreement": Strategy(
            "Passes that draw differently",
            of_disagreement,
            by_value,
            part="pass_disagreement",
            needs=("pairwise_dice",),
        ),
        "clasp-pe": Strategy(
            "Entropy, spread over the classes (ClaSP)",
            of("entropy_lesion"),
            by_class,
            part="entropy_lesion",
            needs=("entropy_lesion", "class_scores"),
        ),
        "random-foreground": Strategy(
            "At random among scans with a finding",
            of("foreground_ml"),
            by_foreground,
            part="foreground_ml",
            needs=("foreground_ml",),
            words=words.BY_FINDING,
        ),
        "random": Strategy("At random", None, by_chance, words=words.AT_RANDOM),
    }
)
"""The strategies by the name that project.toml and the command line use."""


def chance(case: str, seed: int) -> float:
    """A number in [0, 1) that depends on the case and the seed alone.

    Unlike a shuffled list, the order of the other cases does not change when one is labelled or added.

    Parameters
    ----------
    case : str
    seed : int

    Returns
    -------
    float
    """
    digest = hashlib.sha256(f"{seed}:{case}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
