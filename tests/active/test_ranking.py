"""The worklist: its order, its numbers and its sentences."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from napari_dasl.active import STRATEGIES, Candidate, cold_start, find_strategy, rank, similarity_weighted
from napari_dasl.errors import InputError


def pool(count: int = 12, seed: int = 0) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    return [
        Candidate(f"case{index:02d}", uncertainty=float(rng.random() / 2), signature=rng.random(8))
        for index in range(count)
    ]


def cases(ranked) -> list[str]:
    return [item.case for item in ranked]


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_every_strategy_gives_each_case_one_rank_score_and_sentence(strategy):
    ranked = rank(pool(), strategy)
    assert sorted(cases(ranked)) == [f"case{index:02d}" for index in range(12)]
    assert [item.rank for item in ranked] == list(range(1, 13))
    scores = [item.score for item in ranked]
    assert scores == sorted(scores, reverse=True)
    assert all(item.words.endswith(".") and item.words[0].isupper() for item in ranked)


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_the_order_does_not_depend_on_the_order_of_the_input(strategy):
    forwards, backwards = rank(pool(), strategy), rank(pool()[::-1], strategy)
    assert [(item.case, item.words) for item in forwards] == [(item.case, item.words) for item in backwards]


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_dasl_scores_are_eq_3_and_their_parts_are_kept(beta):
    candidates = pool()
    expected = similarity_weighted(
        [item.uncertainty for item in candidates], [item.signature for item in candidates], beta
    )
    scores = {item.case: item.score for item in rank(candidates, "dasl", beta=beta)}
    assert [scores[item.case] for item in candidates] == pytest.approx(list(expected))
    for item in rank(candidates, "dasl", beta=beta):
        assert item.score == pytest.approx(item.parts["uncertainty"] * item.parts["similarity"] ** beta)


def test_dasl_with_beta_zero_and_the_default_order_like_uncertainty():
    candidates = pool()
    expected = sorted(candidates, key=lambda item: -item.uncertainty)
    for strategy, beta in (("dasl", 0.0), ("default", 1.0), ("uncertainty", 1.0)):
        assert cases(rank(candidates, strategy, beta=beta)) == [item.case for item in expected]


def test_the_default_asks_for_uncertainty_around_what_was_found_and_dasl_for_the_configured_region():
    assert find_strategy("default").region == "lesion"
    assert find_strategy("dasl").region is None


def test_signatures_may_be_read_one_at_a_time_and_only_where_needed():
    plain = pool()
    reads: list[str] = []

    def lazy(item: Candidate):
        def read():
            reads.append(item.case)
            return item.signature

        return read

    candidates = [Candidate(item.case, item.uncertainty, lazy(item)) for item in plain]
    assert rank(candidates, "dasl") == rank(plain, "dasl")
    assert len(reads) == 2 * len(plain)
    reads.clear()
    rank(candidates, "random")
    assert not reads


def test_random_follows_the_seed_and_keeps_its_order_when_a_case_leaves():
    candidates = pool(30)
    first = cases(rank(candidates, "random", seed=1))
    assert first == cases(rank(candidates, "random", seed=1))
    assert first != cases(rank(candidates, "random", seed=2))
    assert cases(rank(candidates[1:], "random", seed=1)) == [case for case in first if case != "case00"]


def test_random_draws_every_case_as_often_as_another():
    firsts = [cases(rank(pool(4), "random", seed=seed))[0] for seed in range(2000)]
    counts = [firsts.count(f"case{index:02d}") for index in range(4)]
    assert sum((count - 500) ** 2 / 500 for count in counts) < 16.3  # chi square, 3 degrees of freedom, p = 0.001


def test_ties_go_by_case_id():
    candidates = [Candidate(name, uncertainty=0.2) for name in ("c", "a", "b")]
    assert cases(rank(candidates)) == ["a", "b", "c"]


class TestEmptyPredictions:
    """The network found nothing: uncertainty near zero whether the scan is normal or the lesion was missed."""

    def candidates(self) -> list[Candidate]:
        drawn = [Candidate(f"drawn{index}", uncertainty=index / 20) for index in range(1, 10)]
        hints = {"normal": 0.01, "odd": 0.25, "missed": 0.49}
        return drawn + [Candidate(name, uncertainty=1e-4, empty=True, max_foreground=m) for name, m in hints.items()]

    def test_they_stand_neither_first_nor_last(self):
        order = cases(rank(self.candidates()))
        assert order[0] == "drawn9"
        assert order[-1] == "drawn1"

    def test_the_one_that_came_closest_to_a_finding_goes_first(self):
        order = cases(rank(self.candidates()))
        assert order.index("missed") < order.index("odd") < order.index("normal")
        assert order.index("missed") <= 3
        assert order.index("normal") >= 8

    def test_an_uncertainty_near_zero_or_a_large_one_does_not_move_them(self):
        candidates = self.candidates()
        louder = [
            Candidate(item.case, 0.5, empty=True, max_foreground=item.max_foreground) if item.empty else item
            for item in candidates
        ]
        assert cases(rank(candidates)) == cases(rank(louder))

    def test_the_sentence_says_so(self):
        words = {item.case: item.words for item in rank(self.candidates())}
        assert words["normal"] == "The network found nothing here."
        assert words["missed"] == "The network found nothing here, but came close at one place (49% sure)."

    def test_where_all_are_empty_the_hint_alone_decides(self):
        candidates = [item for item in self.candidates() if item.empty]
        assert cases(rank(candidates)) == ["missed", "odd", "normal"]
        assert cases(rank([Candidate("a", 0.0, empty=True), Candidate("b", 0.0, empty=True)])) == ["a", "b"]

    def test_their_own_numbers_are_kept(self):
        parts = {item.case: item.parts for item in rank(self.candidates())}
        assert parts["odd"]["uncertainty"] == pytest.approx(1e-4)
        assert parts["odd"]["empty"] == 1
        assert parts["odd"]["max_foreground"] == 0.25
        assert parts["drawn1"]["empty"] == 0


class TestWords:
    """One sentence that a radiologist can check against the picture."""

    def of(self, **facts) -> str:
        others = [Candidate(f"other{index}", uncertainty=0.2) for index in range(10)]
        return next(item.words for item in rank([*others, Candidate("x", **facts)]) if item.case == "x")

    def test_places_then_doubt_then_likeness(self):
        assert (
            self.of(uncertainty=0.2, uncertain_regions=3, like_unlabelled=4.0)
            == "Unsure at the edge of 3 regions; unlike most other unlabelled scans."
        )
        assert (
            self.of(uncertainty=0.4, uncertain_regions=1, largest_region_ml=2.43, undecided_spots=2)
            == "Unsure at the edge of 1 region (2.4 ml) and about 2 spots it left out; "
            "less sure than on 99 % of the unlabelled scans."
        )

    def test_a_sure_prediction_says_so(self):
        assert self.of(uncertainty=0.01) == "Surer than on 99 % of the unlabelled scans."

    def test_an_ordinary_one_says_so(self):
        assert self.of(uncertainty=0.2) == "About as unsure here as on most other unlabelled scans."

    def test_labelled_scans_are_compared_with_where_they_are_known(self):
        assert self.of(uncertainty=0.2, like_labelled=3.0) == "Unlike the scans labelled so far."
        assert self.of(uncertainty=0.2, like_labelled=97.0) == "Much like the scans labelled so far."
        assert self.of(uncertainty=0.2, like_unlabelled=97.0) == "Typical of the unlabelled scans."

    @pytest.mark.parametrize(
        ("volume", "text"), [(0.001, "under 0.01 ml"), (0.05, "0.05 ml"), (3.21, "3.2 ml"), (31.7, "32 ml")]
    )
    def test_volumes_are_rounded_as_one_says_them(self, volume, text):
        assert f"({text})" in self.of(uncertainty=0.2, uncertain_regions=1, largest_region_ml=volume)

    def test_likeness_is_worked_out_from_signatures(self):
        alike = [Candidate(f"alike{index}", 0.2, np.array([1.0, index / 50])) for index in range(9)]
        odd = Candidate("odd", 0.2, np.array([0.0, 1.0]))
        ranked = {item.case: item for item in rank([*alike, odd], labelled=np.array([[1.0, 0.0]]))}
        assert ranked["odd"].parts["like_unlabelled"] == 0
        assert ranked["odd"].words == "Unlike the scans labelled so far."
        without = {item.case: item for item in rank([*alike, odd])}
        assert without["odd"].words == "Unlike most other unlabelled scans."

    def test_few_scans_are_not_compared_in_percent(self):
        assert [item.words for item in rank([Candidate("a", 0.4), Candidate("b", 0.1)])] == [
            "About as unsure here as on most other unlabelled scans."
        ] * 2


def test_scans_that_no_model_has_seen_follow_at_the_end():
    ranked = rank([Candidate("new"), Candidate("sure", 0.01), Candidate("unsure", 0.4)])
    assert cases(ranked) == ["unsure", "sure", "new"]
    assert ranked[-1].score is None
    assert ranked[-1].words == "No model has looked at this scan yet."


def test_a_cold_start_is_a_fair_draw_with_a_reason():
    ids = [f"case{index:02d}" for index in range(20)]
    first = cold_start(ids, seed=0)
    assert cases(first) == cases(cold_start(ids[::-1], seed=0))
    assert cases(first) != cases(cold_start(ids, seed=1))
    assert sorted(cases(first)) == ids
    assert [item.rank for item in first] == list(range(1, 21))
    assert first[0].words.startswith("No model is trained yet")


def test_an_empty_pool_gives_an_empty_list():
    assert rank([]) == []
    assert cold_start([], 0) == []


def test_what_cannot_be_ranked_is_refused_in_words():
    with pytest.raises(InputError, match="no ranking strategy named 'unceratinty'") as caught:
        rank(pool(), "unceratinty")
    assert "'uncertainty'" in caught.value.hint
    with pytest.raises(InputError, match="twice"):
        rank([Candidate("a", 0.1), Candidate("a", 0.2)])
    with pytest.raises(InputError, match="case a is not a finite number"):
        rank([Candidate("a", float("nan"))])
    with pytest.raises(InputError, match="Case a has no signature"):
        rank([Candidate("a", 0.1), Candidate("b", 0.2, np.ones(3))], "dasl")


def test_ranking_needs_no_torch():
    code = "import napari_dasl.active, sys; sys.exit(any(m in sys.modules for m in ('torch', 'monai', 'qtpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
