"""Orders and pacings: the published schedule, tables of every formula, and what holds for all of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_dasl.curriculum import (
    PACINGS,
    Pacing,
    arrange,
    available,
    equal_step_groups,
    find_pacing,
    quantile_groups,
)
from napari_dasl.errors import InputError

NAN, INF = math.nan, math.inf
difficulties = st.lists(st.one_of(st.floats(-10, 10), st.just(NAN), st.integers(0, 3).map(float)), min_size=1)


def fitted(name: str, values=range(12)) -> Pacing:
    return find_pacing(name).fitted(list(values))


# Orders


def test_easy_goes_from_the_smallest_difficulty_to_the_largest_and_hard_is_its_reverse():
    assert arrange([0.3, 0.1, 0.2], "easy").tolist() == [1, 2, 0]
    assert arrange([0.3, 0.1, 0.2], "hard").tolist() == [0, 2, 1]
    assert arrange([1, 1, 0, 1], "easy").tolist() == [2, 0, 1, 3]
    assert arrange([1, 1, 0, 1], "hard").tolist() == [3, 1, 0, 2]


def test_what_is_unknown_comes_last_in_both():
    assert arrange([NAN, 2, NAN, 1], "easy").tolist() == [3, 1, 0, 2]
    assert arrange([NAN, 2, NAN, 1], "hard").tolist() == [1, 3, 0, 2]


@given(difficulties, st.sampled_from(["easy", "hard", "random"]), st.integers(0, 99))
def test_every_order_names_every_sample_once_and_the_same_seed_the_same(values, order, seed):
    found = arrange(values, order, seed)
    assert sorted(found) == list(range(len(values)))
    assert found.tolist() == arrange(values, order, seed).tolist()


def test_random_ignores_difficulty_and_depends_on_the_seed():
    assert arrange(range(50), "random", 3).tolist() == arrange([NAN] * 50, "random", 3).tolist()
    assert arrange(range(50), "random", 3).tolist() != arrange(range(50), "random", 4).tolist()
    firsts = [arrange(range(10), "random", seed)[0] for seed in range(2000)]
    assert np.bincount(firsts).min() > 140


def test_an_unknown_order_or_a_table_is_refused():
    with pytest.raises(InputError, match="'anti'"):
        arrange([1], "anti")
    with pytest.raises(InputError, match="2 axes"):
        arrange([[1.0]])


# Groups


def test_quantile_groups_are_equal_and_easiest_first():
    groups = quantile_groups([6, 5, 4, 3, 2, 1, 0], 3)
    assert [group.tolist() for group in groups] == [[6, 5, 4], [3, 2], [1, 0]]


@given(difficulties, st.integers(1, 8))
def test_quantile_groups_divide_the_easy_order(values, count):
    groups = quantile_groups(values, count)
    assert np.concatenate(groups).tolist() == arrange(values).tolist()
    sizes = [len(group) for group in groups]
    assert len(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


def test_equal_steps_follow_the_values_and_not_their_number():
    assert [g.tolist() for g in equal_step_groups([0, 1, 2, 3, 100, NAN], 4)] == [[0, 1, 2, 3], [], [], [4, 5]]
    assert [g.tolist() for g in equal_step_groups([-INF, 0, 10, INF, 5], 2)] == [[0, 1], [4, 2, 3]]
    assert [g.tolist() for g in equal_step_groups([7, 7, 7], 3)] == [[0, 1, 2], [], []]
    assert [g.tolist() for g in equal_step_groups([7, 7, NAN], 3)] == [[0, 1], [], [2]]
    assert [g.tolist() for g in equal_step_groups([NAN, NAN], 3)] == [[0, 1], [], []]
    assert [g.tolist() for g in equal_step_groups([INF, -INF, NAN], 3)] == [[1], [], [0, 2]]


@given(difficulties, st.integers(1, 8))
def test_equal_step_groups_divide_the_easy_order(values, count):
    groups = equal_step_groups(values, count)
    assert len(groups) == count
    assert np.concatenate(groups).tolist() == arrange(values).tolist()


def test_no_group_is_refused():
    for divide in (quantile_groups, equal_step_groups):
        with pytest.raises(InputError, match="0 groups"):
            divide([1, 2], 0)


# The schedule of the stroke paper


def test_the_six_groups_enter_after_25_25_35_35_40_of_200_epochs():
    pacing = find_pacing("quantile-groups")
    shares = [pacing.share(epoch / 200) for epoch in range(200)]
    expected = np.repeat(np.arange(1, 7) / 6, [25, 25, 35, 35, 40, 40])
    assert shares == pytest.approx(expected)
    assert pacing.bounds() == pytest.approx([0.125, 0.25, 0.425, 0.6, 0.8])


def test_the_curriculum_takes_about_47000_of_the_73600_iterations():
    assert round(73_600 * find_pacing("quantile-groups").relative_steps()) == 46_613
    assert find_pacing("linear").relative_steps() == 1


@pytest.mark.parametrize("total", [8, 200, 1000, 46_613])
def test_a_group_enters_at_its_very_step_in_runs_of_any_length(total):
    pacing = find_pacing("quantile-groups", groups=4)
    for step in range(total):
        assert pacing.groups_at(step / total) == 1 + step * 4 // total


def test_epochs_over_few_samples_are_few_steps():
    pacing = find_pacing("quantile-groups", epochs=True)
    per_epoch = 368  # 73,600 iterations in 200 epochs
    steps = [length * per_epoch * k / 6 for k, length in enumerate((25, 25, 35, 35, 40, 40), start=1)]
    total = sum(steps)
    assert total == pytest.approx(46_613, abs=1)
    assert pacing.bounds() == pytest.approx(np.cumsum(steps)[:-1] / total)


def test_what_is_available_is_whole_quantile_groups():
    values = np.random.default_rng(0).random(40)
    pacing, groups = find_pacing("quantile-groups"), quantile_groups(values)
    for k, progress in enumerate((0, 0.125, 0.25, 0.425, 0.6, 0.8), start=1):
        assert available(arrange(values), pacing, progress).tolist() == np.concatenate(groups[:k]).tolist()


# Equal steps


def test_equal_steps_take_their_shares_from_the_difficulties():
    values = [0, 0, 0, 0, 0, 1, 2, 10]
    easy = find_pacing("equal-steps", groups=2).fitted(values)
    assert easy.shares == pytest.approx((7 / 8, 1))
    assert available(arrange(values), easy, 0).tolist() == [0, 1, 2, 3, 4, 5, 6]
    hard = find_pacing("equal-steps", groups=2).fitted(values, "hard")
    assert available(arrange(values, "hard"), hard, 0).tolist() == [7]
    assert find_pacing("equal-steps", groups=2).fitted(values, "random") == easy


def test_from_hard_to_easy_what_is_unknown_enters_with_the_last_group():
    values = [0, 0, 0, 10, NAN]
    hard = find_pacing("equal-steps", groups=2).fitted(values, "hard")
    assert hard.shares == pytest.approx((1 / 5, 1))
    assert find_pacing("equal-steps", groups=2).fitted([NAN, NAN], "hard").share(0) == 1


def test_equal_steps_say_what_they_miss():
    with pytest.raises(InputError, match="how hard the samples are"):
        find_pacing("equal-steps").share(0)
    with pytest.raises(InputError, match="no sample"):
        find_pacing("equal-steps").fitted([])


def test_the_other_pacings_need_no_fitting():
    for name in set(PACINGS) - {"equal-steps"}:
        assert find_pacing(name).fitted([3, 1]) == PACINGS[name]


# Formulas


TABLE = [
    (Pacing("all"), [(0, 1), (1, 1)]),
    (
        Pacing("fixed-exponential", start=0.04, increase=1.9, step=0.1),
        [(0, 0.04), (0.0999, 0.04), (0.1, 0.076), (0.3, 0.04 * 1.9**3), (0.5, 0.04 * 1.9**5), (0.6, 1), (1, 1)],
    ),
    (
        Pacing("varied-exponential", start=0.1, increase=2, thresholds=(0.1, 0.5)),
        [(0, 0.1), (0.1, 0.1), (0.11, 0.2), (0.5, 0.2), (0.51, 0.4), (1, 0.4)],
    ),
    (Pacing("single-step", start=0.3, step=0.25), [(0, 0.3), (0.2499, 0.3), (0.25, 1), (1, 1)]),
    (Pacing("linear", start=0.2, full=0.8), [(0, 0.2), (0.4, 0.6), (0.8, 1), (1, 1)]),
    (Pacing("root", start=0.2, full=0.8), [(0, 0.2), (0.2, 0.6), (0.8, 1), (1, 1)]),
]


@pytest.mark.parametrize(("pacing", "rows"), TABLE, ids=lambda value: getattr(value, "name", ""))
def test_the_share_is_the_formula(pacing, rows):
    for progress, share in rows:
        assert pacing.share(progress) == pytest.approx(share), progress


def test_the_fixed_exponential_increases_at_every_hundredth_step_as_published():
    pacing, total = find_pacing("fixed-exponential", step=100 / 3000), 3000
    for i in range(total):
        assert pacing.share(i / total) == pytest.approx(min(0.04 * 1.9 ** (i // 100), 1))


@pytest.mark.parametrize("name", list(PACINGS))
def test_every_pacing_only_rises_ends_with_everything_and_stays_in_its_range(name):
    pacing = fitted(name)
    shares = [pacing.share(p) for p in np.linspace(0, 1, 401)]
    assert min(shares) > 0
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert pacing.share(-1) == shares[0]
    assert pacing.share(1.5) == 1


@pytest.mark.parametrize("name", list(PACINGS))
@given(samples=st.integers(1, 60), progress=st.floats(0, 1), minimum=st.integers(0, 70))
def test_what_is_available_is_the_head_of_the_order(name, samples, progress, minimum):
    order, pacing = arrange(range(samples), "random"), fitted(name)
    found = available(order, pacing, progress, minimum)
    assert found.tolist() == order[: len(found)].tolist()
    assert min(samples, max(1, minimum)) <= len(found)
    assert len(found) >= min(samples, math.floor(pacing.share(progress) * samples))
    assert len(found) <= max(minimum, 1, math.ceil(pacing.share(progress) * samples) + pacing.groups)
    assert len(available(order, pacing, 1)) == samples


def test_a_share_is_rounded_up_but_not_by_what_floats_lose():
    pacing = Pacing("single-step", start=0.1 * 3)
    assert len(available(np.arange(10), pacing, 0)) == 3
    assert len(available(np.arange(11), pacing, 0)) == 4


def test_another_number_of_groups_has_equal_lengths_unless_it_is_said():
    assert find_pacing("quantile-groups", groups=4).bounds() == pytest.approx([0.25, 0.5, 0.75])
    assert find_pacing("quantile-groups", groups=2, lengths=(1, 3)).bounds() == pytest.approx([0.25])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"groups": 0}, "0 groups"),
        ({"lengths": (1, 2)}, "2 lengths"),
        ({"lengths": (1, 2, 3, 4, 5, 0)}, "lengths"),
        ({"shares": (0.5, 0.4, 0.6, 0.7, 0.8, 1)}, "shares"),
        ({"start": 0}, "start"),
        ({"start": 1.1}, "start"),
        ({"increase": 1}, "increase"),
        ({"step": 0}, "step"),
        ({"full": 2}, "full"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        find_pacing("quantile-groups", **changes)


def test_a_wrong_name_names_the_nearest_and_a_progress_must_be_a_number():
    with pytest.raises(InputError, match="Did you mean 'quantile-groups'"):
        find_pacing("quantile-group")
    with pytest.raises(InputError, match="no pacing"):
        Pacing("xyz")
    for pacing in (find_pacing("linear"), find_pacing("quantile-groups")):
        with pytest.raises(InputError, match="not a number"):
            available(np.arange(3), pacing, NAN)
