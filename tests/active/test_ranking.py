"""The worklist: its order, its numbers and its sentences."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from napari_dasl.active import STRATEGIES, Candidate, cold_start, find_strategy, rank, similarity_weighted
from napari_dasl.errors import InputError

SCORES = ("mutual_information", "pairwise_dice", "entropy_lesion", "foreground_ml")


def pool(count: int = 12, seed: int = 0) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    return [
        Candidate(
            f"case{index:02d}",
            uncertainty=float(rng.random() / 2),
            signature=rng.random(8),
            scores={name: float(rng.random()) for name in SCORES},
            class_scores=(float(rng.random()), float(rng.random())),
        )
        for index in range(count)
    ]


def cases(ranked) -> list[str]:
    return [item.case for item in ranked]


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_every_strategy_gives_each_case_one_rank_score_and_sentence(strategy):
    ranked = rank(pool(), strategy)
    assert sorted(cases(ranked)) == [f"case{index:02d}" for index in range(12)]
    assert [item.rank for item in ranked] == list(range(1, 13))
    if strategy != "clasp-pe":  # draws its batch class by class
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


def test_dasl_and_the_default_with_beta_zero_order_like_uncertainty():
    candidates = pool()
    expected = sorted(candidates, key=lambda item: -item.uncertainty)
    for strategy, beta in (("dasl", 0.0), ("default", 0.0), ("uncertainty", 1.0)):
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

    candidates = [replace(item, signature=lazy(item)) for item in plain]
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
    assert cases(rank(candidates, "uncertainty")) == ["a", "b", "c"]


class TestEmptyPredictions:
    """The network found nothing: uncertainty near zero whether the scan is normal or the lesion was missed."""

    def candidates(self) -> list[Candidate]:
        drawn = [Candidate(f"drawn{index}", uncertainty=index / 20) for index in range(1, 10)]
        hints = {"normal": 0.01, "odd": 0.25, "missed": 0.49}
        return drawn + [Candidate(name, uncertainty=1e-4, empty=True, max_foreground=m) for name, m in hints.items()]

    def test_they_stand_neither_first_nor_last(self):
        order = cases(rank(self.candidates(), "uncertainty"))
        assert order[0] == "drawn9"
        assert order[-1] == "drawn1"

    def test_the_one_that_came_closest_to_a_finding_goes_first(self):
        order = cases(rank(self.candidates(), "uncertainty"))
        assert order.index("missed") < order.index("odd") < order.index("normal")
        assert order.index("missed") <= 3
        assert order.index("normal") >= 8

    def test_an_uncertainty_near_zero_or_a_large_one_does_not_move_them(self):
        candidates = self.candidates()
        louder = [
            Candidate(item.case, 0.5, empty=True, max_foreground=item.max_foreground) if item.empty else item
            for item in candidates
        ]
        assert cases(rank(candidates, "uncertainty")) == cases(rank(louder, "uncertainty"))

    def test_the_sentence_says_so(self):
        words = {item.case: item.words for item in rank(self.candidates(), "uncertainty")}
        assert words["normal"] == "The network found nothing here."
        assert words["missed"] == "The network found nothing here, but came close at one place (49% sure)."

    def test_where_all_are_empty_the_hint_alone_decides(self):
        candidates = [item for item in self.candidates() if item.empty]
        assert cases(rank(candidates, "uncertainty")) == ["missed", "odd", "normal"]
        assert cases(rank([Candidate("a", 0.0, empty=True), Candidate("b", 0.0, empty=True)], "uncertainty")) == [
            "a",
            "b",
        ]

    def test_their_own_numbers_are_kept(self):
        parts = {item.case: item.parts for item in rank(self.candidates(), "uncertainty")}
        assert parts["odd"]["uncertainty"] == pytest.approx(1e-4)
        assert parts["odd"]["empty"] == 1
        assert parts["odd"]["max_foreground"] == 0.25
        assert parts["drawn1"]["empty"] == 0


class TestWords:
    """One sentence that a radiologist can check against the picture."""

    def of(self, **facts) -> str:
        others = [Candidate(f"other{index}", uncertainty=0.2) for index in range(10)]
        return next(item.words for item in rank([*others, Candidate("x", **facts)], "uncertainty") if item.case == "x")

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
        ranked = {item.case: item for item in rank([*alike, odd], "uncertainty", labelled=np.array([[1.0, 0.0]]))}
        assert ranked["odd"].parts["like_unlabelled"] == 0
        assert ranked["odd"].words == "Unlike the scans labelled so far."
        without = {item.case: item for item in rank([*alike, odd], "uncertainty")}
        assert without["odd"].words == "Unlike most other unlabelled scans."

    def test_few_scans_are_not_compared_in_percent(self):
        assert [item.words for item in rank([Candidate("a", 0.4), Candidate("b", 0.1)], "uncertainty")] == [
            "About as unsure here as on most other unlabelled scans."
        ] * 2


def test_scans_that_no_model_has_seen_follow_at_the_end():
    ranked = rank([Candidate("new"), Candidate("sure", 0.01), Candidate("unsure", 0.4)], "uncertainty")
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


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_pool_of_one_and_a_pool_without_findings(strategy):
    assert cases(rank(pool(1), strategy)) == ["case00"]
    nothing = [replace(item, empty=True, max_foreground=0.1) for item in pool(7)]
    assert len(rank(nothing, strategy, query=3)) == 7


def order_by(strategy: str, value) -> None:
    expected = sorted(pool(), key=lambda item: -value(item))
    assert cases(rank(pool(), strategy)) == [item.case for item in expected]


def test_bald_goes_by_mutual_information_and_disagreement_by_the_passes_dice():
    order_by("bald", lambda item: item.scores["mutual_information"])
    order_by("disagreement", lambda item: 1 - item.scores["pairwise_dice"])
    first = rank(pool(), "bald")[0]
    assert first.parts["mutual_information"] == first.score


def test_noise_changes_from_round_to_round_and_wears_off():
    orders = [cases(rank(pool(40), "power", round=k, power=2.0)) for k in range(5)]
    assert len({tuple(order) for order in orders}) == 5
    assert orders[0] == cases(rank(pool(40), "power", round=0, power=2.0))
    plain = cases(rank(pool(40), "uncertainty"))
    assert cases(rank(pool(40), "power", power=1e9)) == plain

    def moved(order):
        return sum(abs(plain.index(case) - place) for place, case in enumerate(order))

    early = sum(moved(cases(rank(pool(40), "power", round=0, power=2.0, seed=s))) for s in range(20))
    late = sum(moved(cases(rank(pool(40), "power", round=4, power=2.0, seed=s))) for s in range(20))
    assert late < early / 3


def test_a_scan_put_first_by_luck_says_so():
    ranked = rank(pool(40), "power", power=0.1)
    unsure = {item.case: item.uncertainty for item in pool(40)}
    surest, least_sure = min(unsure, key=unsure.get), max(unsure, key=unsure.get)
    words = {item.case: item.words for item in ranked}
    assert "drawn by lot" in words[surest]
    assert "drawn by lot" not in words[least_sure]
    assert all(item.score > 0 for item in ranked)


class TestDiverse:
    """k-centre: no two copies of a scan in one batch, and nothing like what is labelled."""

    def test_copies_are_asked_for_once(self):
        copies = [replace(item, case=f"{item.case}-{k}") for item in pool(6) for k in "abc"]
        batch = cases(rank(copies, "k-centre", query=6))[:6]
        assert len({case[:-2] for case in batch}) == 6
        plain = cases(rank(copies, "default", query=6))[:6]
        assert len({case[:-2] for case in plain}) == 2

    def test_a_copy_of_a_labelled_scan_comes_last(self):
        candidates = pool(8)
        most = max(candidates, key=lambda item: item.uncertainty)
        assert cases(rank(candidates, "k-centre", query=4))[0] == most.case
        labelled = np.array([most.signature])
        assert cases(rank(candidates, "k-centre", query=4, labelled=labelled))[-1] == most.case

    def test_a_copy_of_one_drawn_at_random_is_left_for_later(self):
        copies = [replace(item, case=f"{item.case}-{k}") for item in pool(8) for k in "ab"]
        ranked = rank(copies, "k-centre", query=6, explore=0.3)[:6]
        assert sum("explored" in item.parts for item in ranked) == 2
        drawn = {item.case[:-2] for item in ranked if "explored" in item.parts}
        assert not drawn & {item.case[:-2] for item in ranked if "explored" not in item.parts}


class TestExploring:
    """A share of the batch that chance decides."""

    def test_it_takes_the_end_of_the_batch_and_says_so(self):
        ranked = rank(pool(40), "default", query=8, explore=0.25)
        explored = [item for item in ranked if "explored" in item.parts]
        assert [item.rank for item in explored] == [7, 8]
        assert {item.words for item in explored} == {"Drawn at random, so that the labelled scans stay a fair sample."}
        rest = [case for case in cases(rank(pool(40), "default")) if case not in cases(explored)]
        assert [case for case in cases(ranked) if case not in cases(explored)] == rest

    def test_every_scan_may_be_drawn_also_one_that_no_model_saw(self):
        candidates = [*pool(5), Candidate("unseen")]
        drawn = {
            item.case
            for k in range(60)
            for item in rank(candidates, "default", query=2, explore=0.5, round=k)
            if "explored" in item.parts
        }
        assert drawn == {item.case for item in candidates}

    def test_without_it_nothing_is_drawn(self):
        assert not any("explored" in item.parts for item in rank(pool(40), "default", query=8))


class TestRandomForeground:
    """In proportion to the predicted foreground, and scans without a finding at the end."""

    def candidates(self) -> list[Candidate]:
        masses = {"a": 1.0, "b": 3.0, "none": 9.0}
        return [
            Candidate(case, 0.2, empty=case == "none", scores={"foreground_ml": mass}) for case, mass in masses.items()
        ]

    def test_a_scan_with_three_times_the_foreground_is_drawn_three_times_as_often(self):
        firsts = [cases(rank(self.candidates(), "random-foreground", seed=seed))[0] for seed in range(2000)]
        assert firsts.count("b") == pytest.approx(1500, abs=80)  # four standard deviations
        assert "none" not in firsts

    def test_it_says_that_chance_decided(self):
        words = {item.case: item.words for item in rank(self.candidates(), "random-foreground")}
        assert words["a"].startswith("Drawn at random")
        assert words["none"] == "The network found nothing here."


def test_clasp_draws_two_thirds_of_a_batch_class_by_class():
    candidates = pool(60)
    ranked = rank(candidates, "clasp-pe", query=9, power=1e9)
    strata = [int(item.parts["stratum"]) for item in ranked[:9]]
    assert strata == [1, 1, 1, 2, 2, 2, 0, 0, 0]
    by_class = sorted(candidates, key=lambda item: -item.class_scores[0])
    assert cases(ranked)[:3] == [item.case for item in by_class[:3]]
    left = [item for item in candidates if item.case not in cases(ranked)[:6]]
    assert cases(ranked)[6:9] == [
        item.case for item in sorted(left, key=lambda item: -item.scores["entropy_lesion"])[:3]
    ]


def test_a_strategy_without_its_numbers_says_which():
    bare = [Candidate("a", 0.1), Candidate("b", 0.2)]
    with pytest.raises(InputError, match="case a holds no mutual_information"):
        rank(bare, "bald")
    with pytest.raises(InputError, match="holds no class_scores"):
        rank([Candidate("a", 0.1, scores={"entropy_lesion": 0.2})], "clasp-pe")
    assert STRATEGIES["bald"].passes
    assert not STRATEGIES["clasp-pe"].passes


@pytest.mark.parametrize("wrong", [{"query": 0}, {"power": 0.0}, {"explore": 1.5}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        rank(pool(), **wrong)


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
