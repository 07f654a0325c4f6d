"""Advice to stop: two of three signs, two rounds in a row."""

from __future__ import annotations

import pytest

from napari_dasl.active.stopping import Advice, RoundSigns, advise

STABLE, FLAT, SHORT = {"stability": 0.98}, {"interval": (-0.01, 0.02), "gain": 0.005}, {"effort": 40.0}
MOVING = {"stability": 0.9, "interval": (0.01, 0.05), "gain": 0.03, "effort": 200.0}


def after(*rounds: dict, **options) -> Advice:
    return advise([RoundSigns(**{**MOVING, **one}) for one in rounds], **options)


@pytest.mark.parametrize("pair", [STABLE | FLAT, STABLE | SHORT, FLAT | SHORT])
def test_two_signs_for_two_rounds_are_enough(pair):
    found = after(pair, pair, target_seconds=60)
    assert found.stop
    assert len(found.reasons) >= 2
    assert all(reason in found.sentence for reason in found.reasons)
    assert found.sentence.startswith("You could stop labelling here")


@pytest.mark.parametrize("one", [STABLE, FLAT, SHORT])
def test_one_sign_is_not(one):
    rounds = [one | {"effort": one.get("effort", 400.0 / 2**k)} for k in range(3)]
    assert not after(*rounds, target_seconds=45).stop


def test_one_round_is_not():
    assert not after(STABLE | FLAT, target_seconds=60).stop
    assert not after({}, STABLE | FLAT).stop
    assert not after(STABLE | FLAT, {"effort": 100.0}).stop


def test_effort_is_flat_when_it_no_longer_falls_by_a_tenth():
    flat = [STABLE | {"effort": seconds} for seconds in (100.0, 95.0, 92.0)]
    assert after(*flat).stop
    falling = [STABLE | {"effort": seconds} for seconds in (100.0, 80.0, 60.0)]
    assert not after(*falling).stop


def test_a_gain_without_an_interval_is_held_against_epsilon():
    small = {"interval": None, "gain": 0.008} | STABLE
    assert after(small, small, epsilon=0.01).stop
    assert not after(small | {"effort": 100.0}, small | {"effort": 50.0}, epsilon=0.005).stop


def test_a_clear_gain_speaks_for_going_on():
    assert after({}, {"effort": 100.0}).sentence == "Labelling on is worth it: nothing has levelled off yet."
    assert after(STABLE).sentence == (
        "Labelling on is worth it so far, although predictions hardly change any more "
        "(Dice 0.980 with the round before)."
    )
    assert advise([]) == Advice(False, (), "No round is done yet.")


def test_what_is_not_known_is_no_sign():
    assert advise([RoundSigns(), RoundSigns()]).reasons == ()
