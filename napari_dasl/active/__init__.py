"""Who should be labelled next: uncertainty, similarity and ranking strategies. Pure functions of arrays; no torch."""

from __future__ import annotations

from napari_dasl.active import aggregations
from napari_dasl.active.agreement import mean_dice, pairwise_dice
from napari_dasl.active.candidates import Candidate, Ranked
from napari_dasl.active.curves import LearningCurve, fit_curve, labels_sentence
from napari_dasl.active.diagnosis import Diagnosis, diagnose
from napari_dasl.active.neighbours import nearest
from napari_dasl.active.passes import Passes
from napari_dasl.active.ranking import cold_start, find_strategy, rank
from napari_dasl.active.regions import RegionKind, region_mask, regional_uncertainty
from napari_dasl.active.similarity import mean_similarity, mean_similarity_to, similarity_weighted
from napari_dasl.active.stopping import Advice, RoundSigns, advise
from napari_dasl.active.strategies import STRATEGIES
from napari_dasl.active.uncertainty import entropy_map, least_confident, least_confident_map

__all__ = [
    "STRATEGIES",
    "Advice",
    "Candidate",
    "Diagnosis",
    "LearningCurve",
    "Passes",
    "Ranked",
    "RegionKind",
    "RoundSigns",
    "advise",
    "aggregations",
    "cold_start",
    "diagnose",
    "entropy_map",
    "find_strategy",
    "fit_curve",
    "labels_sentence",
    "least_confident",
    "least_confident_map",
    "mean_dice",
    "mean_similarity",
    "mean_similarity_to",
    "nearest",
    "pairwise_dice",
    "rank",
    "region_mask",
    "regional_uncertainty",
    "similarity_weighted",
]
