"""The learning curve: parameters that are put in come out again, and few points are refused."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.active.curves import fit_curve, labels_sentence
from napari_dasl.errors import InputError

LABELS = [8, 16, 24, 32, 40]


def dice(labels, ceiling=0.85, start=0.75, rate=0.05, first=8):
    return ceiling - (ceiling - start) * np.exp(-rate * (np.asarray(labels) - first))


def test_a_curve_without_noise_is_found_again():
    found = fit_curve(LABELS, dice(LABELS))
    assert (found.ceiling, found.start, found.rate) == pytest.approx((0.85, 0.75, 0.05), abs=1e-3)
    assert found.dice([56]) == pytest.approx(dice([56]), abs=1e-3)


def test_the_labels_for_a_gain_are_where_the_curve_reaches_it():
    found = fit_curve(LABELS, dice(LABELS))
    more = found.labels_for(0.01)
    assert dice([40 + more])[0] >= dice([40])[0] + 0.01 - 1e-4
    assert dice([40 + more - 1.5])[0] < dice([40])[0] + 0.01
    assert found.labels_for(0.05) is None
    assert f"about {more} more labels for +0.01 Dice" in labels_sentence(found)
    assert "would not bring another 0.05 Dice" in labels_sentence(found, 0.05)


def test_the_band_holds_the_curve_and_widens_away_from_the_points():
    noise = 0.004 * np.random.default_rng(0).standard_normal(6)
    points = [*LABELS, 48]
    found = fit_curve(points, dice(points) + noise)
    low, high = found.band([24, 200])
    at = found.dice([24, 200])
    assert (low <= at).all()
    assert (at <= high).all()
    assert high[1] - low[1] > high[0] - low[0] > 0


def test_a_flat_curve_does_not_promise_anything():
    assert "not bring another" in labels_sentence(fit_curve(LABELS, [0.8] * 5))


def test_a_falling_one_is_fitted_as_flat():
    found = fit_curve(LABELS, [0.82, 0.81, 0.8, 0.79, 0.78])
    assert found.dice([100])[0] >= found.dice([8])[0] - 1e-9


def test_fewer_than_four_points_are_refused():
    with pytest.raises(InputError, match="3 points"):
        fit_curve([8, 16, 24], [0.7, 0.75, 0.78])
    with pytest.raises(InputError, match="2 points"):
        fit_curve([8, 8, 8, 16], [0.7, 0.71, 0.72, 0.78])
    with pytest.raises(InputError, match="one finite Dice"):
        fit_curve(LABELS, [0.7, 0.75, float("nan"), 0.8, 0.8])


def test_a_fit_at_its_bound_keeps_its_band_around_it():
    curve = fit_curve([2, 4, 6, 8, 10], [0.60, 0.68, 0.65, 0.73, 0.75])
    low, high = curve.band([2, 6, 10, 20])
    middle = curve.dice([2, 6, 10, 20])
    assert ((low <= middle) & (middle <= high)).all()
    assert low[0] > 0.5


def test_the_range_of_labels_holds_the_estimate():
    sentence = labels_sentence(fit_curve([2, 4, 6, 8, 10], [0.60, 0.68, 0.65, 0.73, 0.75]))
    more, low = (int(part.split()[0]) for part in (sentence.split("about ")[1], sentence.split("likely ")[1]))
    assert low <= more
