"""The loss of whole cases, worked out by hand; a network stands in that says what a test wrote down."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from napari_dasl.errors import Cancelled, InputError
from napari_dasl.scoring import case_losses
from napari_dasl.scoring.losses import stored_own_loss


def network(*answers, detector=False, self_loss=None):
    """A predictor that gives one answer (K, z, y, x) after the other."""
    told = iter(answers)
    return SimpleNamespace(
        plan=SimpleNamespace(detector=detector),
        case=lambda image, spacing, cancelled: next(told),
        predict=lambda image, spacing, cancelled: SimpleNamespace(probability=next(told), self_loss=self_loss),
    )


def probability(*foreground):
    p = np.array(foreground, np.float32).reshape(1, 1, -1)
    return np.stack([1 - p, p])


def labelled(make_case, values, **keys):
    label = None if values is None else np.array(values, np.uint8).reshape(1, 1, -1)
    return make_case("p1", np.zeros((1, 1, 1, 4), np.float32), label, **keys)


def expected(p, t, *, dice=True):
    p, t = np.array(p), np.array(t)
    entropy = -np.mean(np.log(np.where(t == 1, p, 1 - p)))
    return entropy + (1 - 2 * (p * t).sum() / (p.sum() + t.sum()) if dice else 0)


ANSWER = (0.9, 0.6, 0.3, 0.2)


def test_bootstrapping_compares_with_the_label_and_self_paced_with_the_answer(make_case):
    case = labelled(make_case, (1, 0, 1, 0))
    against_label = case_losses(network(probability(*ANSWER)), [case])
    against_itself = case_losses(network(probability(*ANSWER)), [case], against="prediction")
    assert against_label == pytest.approx([expected(ANSWER, (1, 0, 1, 0))], rel=1e-5)
    assert against_itself == pytest.approx([expected(ANSWER, (1, 1, 0, 0))], rel=1e-5)


def test_every_class_that_the_label_holds_has_its_dice(make_case):
    p = np.zeros((3, 1, 1, 4), np.float32)
    p[:, 0, 0] = np.array([[0.1, 0.1, 0.5, 0.8], [0.8, 0.2, 0.25, 0.1], [0.1, 0.7, 0.25, 0.1]])
    found = case_losses(network(p), [labelled(make_case, (1, 2, 0, 0))])
    first, second = 2 * 0.8 / (1.35 + 1), 2 * 0.7 / (1.15 + 1)
    entropy = -np.log([0.8, 0.7, 0.5, 0.8]).mean()
    assert found == pytest.approx([entropy + 1 - (first + second) / 2], rel=1e-4)


def test_a_label_without_lesion_has_the_cross_entropy_alone_and_no_label_no_loss(make_case):
    cases = [labelled(make_case, (0, 0, 0, 0)), labelled(make_case, None)]
    empty, none = case_losses(network(probability(*ANSWER), probability(*ANSWER)), cases)
    assert empty == pytest.approx(expected(ANSWER, (0, 0, 0, 0), dice=False), rel=1e-5)
    assert math.isnan(none)


def test_a_missed_lesion_is_harder_than_any_that_was_found(make_case):
    case = labelled(make_case, (1, 1, 0, 0))
    missed, faint = (0.45, 0.0, 0.0, 0.0), (0.55, 0.0, 0.0, 0.0)
    found = case_losses(network(probability(*missed), probability(*faint)), [case] * 2, against="prediction")
    assert found[0] == pytest.approx(1 + expected(missed, (0, 0, 0, 0), dice=False), rel=1e-5)
    assert found[0] > found[1]
    detector = network(probability(*missed), detector=True, self_loss=0.125)
    assert case_losses(detector, [case], against="prediction") == [1.125]
    assert stored_own_loss({"self_loss": 0.02, "empty": True}) == 1.02
    assert stored_own_loss({"self_loss": 0.02, "empty": False}) == 0.02
    assert stored_own_loss({}) is None


def test_numbers_of_lesions_are_one_class(make_case):
    one = case_losses(network(probability(*ANSWER)), [labelled(make_case, (1, 0, 7, 0), instances=True)])
    assert one == pytest.approx([expected(ANSWER, (1, 0, 1, 0))], rel=1e-5)


def test_a_detector_is_compared_with_itself_finding_by_finding(make_case):
    case = labelled(make_case, None)
    found = case_losses(network(probability(*ANSWER), detector=True, self_loss=0.125), [case], against="prediction")
    assert found == [0.125]


def test_it_says_how_far_it_is_and_can_be_stopped(make_case):
    case = labelled(make_case, (1, 0, 1, 0))
    told = []
    with pytest.raises(Cancelled):
        case_losses(
            network(*[probability(*ANSWER)] * 3), [case] * 3, report=told.append, cancelled=lambda: len(told) == 2
        )
    assert [(event.done, event.total) for event in told] == [(1, 3), (2, 3)]
    with pytest.raises(InputError, match="Choose target or prediction"):
        case_losses(network(probability(*ANSWER)), [case], against="nobody")
