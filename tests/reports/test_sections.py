"""Each section: the numbers it gathers, and that its figures show them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from napari_dasl.errors import InputError
from napari_dasl.project import Project, ProjectConfig, Score
from napari_dasl.reports import drawing, effort, learning_curve, pool, rounds, selfpaced, simulated, summary

DICE = (0.60, 0.68, 0.65, 0.73, 0.75)  # of the fixture's rounds


def labels(figure: Figure) -> list[str]:
    """The legend's words."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def line(figure: Figure, label: str) -> tuple[list[float], list[float]]:
    """The points of the line with that label."""
    (found,) = [one for axes in figure.axes for one in axes.get_lines() if one.get_label() == label]
    return list(found.get_xdata()), list(found.get_ydata())


class TestSummary:
    def test_counts_every_case_once(self, lived):
        found = summary.gather(lived)
        assert found.cases == 20
        assert dict(found.states) == {
            **{"labelled": 10, "guard set": 3, "pseudo-label only": 3, "edit open": 0},
            **{"not labelled": 3, "skipped": 1, "unreadable": 0},
        }
        assert (found.model, found.dice, found.rounds) == ("r0005-eeeeee", DICE[-1], 5)
        assert found.advice == "More labels still help."

    def test_adds_up_the_same_minutes_as_the_effort(self, lived):
        assert summary.gather(lived).minutes == pytest.approx(effort.gather(lived).minutes)

    def test_the_bar_has_a_part_for_every_state_that_occurs(self, lived):
        figure = summary.states_figure(summary.gather(lived))
        assert [bar.get_width() for bar in figure.axes[0].patches] == [10, 3, 3, 3, 1]
        assert labels(figure)[:2] == ["labelled: 10", "guard set: 3"]


class TestRounds:
    def test_says_what_became_of_each_round(self, lived):
        history = rounds.gather(lived)
        assert [one.outcome for one in history.rounds] == ["promoted", "promoted", "candidate", "promoted", "promoted"]
        assert [one.phase for one in history.rounds] == ["al", "spl", "al", "spl", "al"]
        third = history.rounds[2]
        assert (third.dice, third.before, third.reason) == (
            0.65,
            0.68,
            "The guard set lost <script>alert(1)</script> 0.030.",
        )
        assert [round(gain, 3) for _, gain in third.pairs] == [-0.04, -0.03, -0.02]

    def test_draws_models_that_took_over_apart_from_candidates(self, lived):
        figure = rounds.guard_figure(rounds.gather(lived))
        assert line(figure, "new model, took over") == ([1, 2, 4, 5], [0.60, 0.68, 0.73, 0.75])
        assert line(figure, "new model, candidate") == ([3], [0.65])
        assert line(figure, "model before, same scans") == ([2, 3, 4, 5], [0.60, 0.68, 0.68, 0.73])
        assert line(figure, "liver")[1] == [one + 0.1 for one in DICE]

    def test_draws_a_point_for_every_pair(self, lived):
        figure = rounds.pairs_figure(rounds.gather(lived))
        assert len(line(figure, "one scan of the guard set")[0]) == 4 * 3

    def test_a_class_whose_name_begins_with_an_underscore_is_in_the_legend(self, lived):
        history = rounds.gather(lived)
        per_class = tuple(replace(one, per_class={"_a": 0.1, "b": 0.2}) for one in history.rounds)
        figure = rounds.guard_figure(replace(history, rounds=per_class, classes=("_a", "b")))
        assert labels(figure)[:2] == [" _a", "b"]

    def test_reads_rounds_of_an_older_version_and_ones_that_failed(self, tmp_path):
        with Project.create(tmp_path / "old", ProjectConfig(name="old", modality="CT")) as project:
            project.new_round("al", {"train": {"p1": 1, "p2": 1}})
            project.finish_round(1, "failed", {"reason": "The disk is full."})
            project.new_round("al", {})
            old = {"promoted": True, "guard": {"dice": 0.5, "cases": {"p1": 0.5}}, "trained_on": {"human": 3}}
            project.finish_round(2, "done", old)
            project.new_round("al", {})
            found = rounds.gather(project).rounds
            blocks = rounds.section(project).blocks
        assert [one.outcome for one in found] == ["failed", "promoted", "running"]
        assert [one.human for one in found] == [2, 3, 0]
        assert (found[1].dice, found[1].before, found[1].pairs, found[0].reason) == (0.5, None, (), "The disk is full.")
        assert len(blocks) == 2

    def test_tells_the_lesions_by_which_a_detector_was_judged(self, tmp_path):
        missed = {"found": [False], "volumes_ml": [1]}
        now = {"p1": {"found": [True, True], "volumes_ml": [1, 2], "false": 3}, "p2": {**missed, "false": 0}}
        old = {"p1": {"found": [True, False], "volumes_ml": [1, 2], "false": 0}, "p2": {**missed, "false": 1}}
        cases = {"p1": 0.5, "p2": 0.4}
        with Project.create(tmp_path / "nodules", ProjectConfig(name="nodules", modality="CT")) as project:
            for before, before_lesions in ((None, {}), (0.3, old)):
                number = project.new_round("al", {}).number
                guard = {"dice": 0.45, "before": before, "cases": cases, "before_cases": cases if before else {}}
                guard |= {"lesions": now, "before_lesions": before_lesions}
                project.finish_round(number, "done", {"promoted": True, "guard": guard})
            found = rounds.gather(project)
            *_, picture, _, table = rounds.section(project).blocks
        assert found.by_lesions
        assert table.rows[0] == (1, 3, None, 2, None, 1.5, None, pytest.approx(0.5), "promoted")
        assert table.rows[1] == (2, 3, 1, 2, 0.5, 1.5, pytest.approx(0.4), pytest.approx(0.5), "promoted")
        assert "decide first" in picture.caption

    def test_says_nothing_of_lesions_where_no_detector_was_trained(self, lived):
        assert not rounds.gather(lived).by_lesions
        assert not any("Lesions" in getattr(block, "caption", "") for block in rounds.section(lived).blocks)


class TestSelfPaced:
    def test_gathers_pace_weights_reviews_and_audits(self, lived):
        found = selfpaced.gather(lived)
        assert [(one.number, one.pace, one.quantile, one.taken, one.effective) for one in found.rounds] == [
            (2, pytest.approx(0.14), pytest.approx(0.2), 6, 3.5),
            (4, pytest.approx(0.18), pytest.approx(0.4), 6, 3.5),
        ]
        assert found.newest == 4
        assert found.weights == pytest.approx([1, 0.85, 0.7, 0.55, 0.4, 0.25, 0.1, 0, 0])
        assert (found.accepted, found.rejected, found.audits) == (1, 1, (0.8, 0.9))
        low, high = found.audit_bounds
        assert 0.8 <= low < 0.85 < high <= 0.9
        assert "rescaled weights" in found.settings

    def test_says_how_good_pseudo_labels_are_only_when_they_were_checked(self, lived):
        found = selfpaced.gather(lived)
        assert "2 blind checks, pseudo-labels reach a mean Dice of 0.85" in selfpaced.review_words(found)
        unchecked = replace(found, audits=(), audit_bounds=None)
        assert "quality is not known" in selfpaced.review_words(unchecked)

    def test_draws_every_candidate_once(self, lived):
        bars = selfpaced.weights_figure(selfpaced.gather(lived)).axes[0].patches
        assert [bar.get_height() for bar in bars] == [0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 2]

    def test_draws_pace_and_effective_number(self, lived):
        figure = selfpaced.pace_figure(selfpaced.gather(lived))
        assert line(figure, "λ")[0] == [2, 4]
        assert line(figure, "effective number, Σ v") == ([2, 4], [3.5, 3.5])
        assert [text.get_text() for text in figure.axes[0].texts] == ["20 %", "40 %"]

    def test_says_that_and_why_it_is_switched_off(self, tmp_path):
        with Project.create(tmp_path / "off", ProjectConfig(name="off", modality="CT")) as project:
            project.log_event("selfpaced", {"enabled": False, "why": "they made it worse"})
            first = selfpaced.section(project).blocks[0]
        assert first.warning
        assert first.text == "Pseudo-labels are switched off: they made it worse."


class TestPool:
    def test_lists_what_still_waits_by_rank(self, lived):
        found = pool.gather(lived)
        assert [one.case for one in found.scores] == ["p12", "p15", "p16", "p17", "p18", "p19"]
        assert [one.agreement for one in found.rankings] == pytest.approx([0.91, 0.92, 0.93, 0.94, 0.95])
        assert "Similarity changed almost nothing" in found.sentence

    def test_draws_a_point_per_ranking_and_per_scan(self, lived):
        found = pool.gather(lived)
        agreement, spread = pool.similarity_figure(found).axes
        assert list(agreement.get_lines()[0].get_ydata()) == pytest.approx([0.91, 0.92, 0.93, 0.94, 0.95])
        assert list(spread.get_lines()[0].get_ydata()) == [0.06] * 5
        (points,) = pool.scores_figure(found).axes[0].get_lines()
        assert list(points.get_xdata()) == [1, 2, 3, 4, 5, 6]

    def test_lists_500_of_10000_and_says_so(self):
        scores = tuple(Score(f"p{rank}", "m", rank, None, None, None) for rank in range(1, 10_001))
        table = pool.pool_table(pool.Pool("random", scores, (), ""))
        assert len(table.rows) == 500
        assert "the first 500 of 10000 are listed" in table.caption
        assert [column.title for column in table.columns] == ["Rank", "Case", "Score"]

    def test_rankings_in_which_no_similarity_took_part_are_left_out(self, tmp_path):
        with Project.create(tmp_path / "x", ProjectConfig(name="x", modality="CT")) as project:
            project.log_event("ranking", {"strategy": "random", "notes": [], "diagnosis": None})
            assert pool.gather(project).diagnosed == ()


class TestEffort:
    def test_adds_up_sittings_and_counts_older_labels_by_their_seconds(self, lived):
        found = effort.gather(lived)
        assert len(found.cases) == 10
        assert sum(one.minutes for one in found.cases) == pytest.approx(55)
        assert found.looked_at == pytest.approx(1.5)
        assert found.authors == ("ann", "bob")
        (older,) = [one for one in found.cases if one.unsplit]
        assert (older.inspect, older.edit, older.start) == (0, 0, "not known")

    def test_keeps_blind_guard_scans_apart(self, lived):
        found = effort.gather(lived)
        guard = {case.id for case in lived.guard_cases()}
        assert {one.case for one in found.of("guard")} == guard
        assert {one.kind for one in found.cases if one.case not in guard} == {"ordinary"}
        assert [row[:2] for row in effort.kinds_table(found).rows] == [("ordinary scans", 7), ("blind guard scans", 3)]

    def test_counts_how_labels_began_by_model(self, lived):
        rows = {row[0]: row for row in effort.drafts_table(effort.gather(lived)).rows}
        by_model = rows["r0001-aaaaaa"]
        assert by_model[4:] == (0, by_model[1] - 1, 1, 0)
        assert rows["no model"][3] is None

    def test_compares_the_first_scans_with_the_last(self, lived):
        found = effort.gather(lived)
        assert effort.pace_words(found).startswith("In the median, the first 3 ordinary scans took 7.0 minutes")
        assert effort.pace_words(replace(found, cases=found.cases[:4])) == ""

    def test_stacks_looking_drawing_and_what_is_not_told_apart(self, lived):
        found = effort.gather(lived)
        bars = effort.minutes_figure(found).axes[0].patches
        assert len(bars) == 3 * 10
        assert sum(bar.get_height() for bar in bars) == pytest.approx(55)
        assert len(line(effort.minutes_figure(found), "drawn blind")[0]) == 3

    def test_averages_neighbours_where_there_are_many(self, lived):
        found = effort.gather(lived)
        many = replace(found, cases=tuple(found.cases[place % 10] for place in range(250)))
        bars = effort.minutes_figure(many, bars=100).axes[0].patches
        assert len(bars) == 3 * 84
        assert max(bar.get_x() + bar.get_width() for bar in bars) <= 251

    def test_work_of_no_time_is_drawn_as_nothing(self, lived):
        found = effort.gather(lived)
        idle = tuple(replace(one, inspect=0.0, edit=0.0, unsplit=0.0, kind="ordinary") for one in found.cases)
        figure = effort.minutes_figure(replace(found, cases=idle))
        assert len(figure.axes[0].patches) == 0
        assert labels(figure) == []


class TestLearningCurve:
    def test_takes_the_rounds_that_were_judged(self, lived):
        found = learning_curve.gather(lived)
        assert found.points == tuple((2 * number, dice, number != 3) for number, dice in enumerate(DICE, 1))
        assert found.curve is not None
        figure = learning_curve.curve_figure(found)
        assert line(figure, "took over")[0] == [2, 4, 8, 10]
        assert line(figure, "candidate") == ([6], [0.65])
        assert line(figure, "extrapolation")[0][-1] == pytest.approx(15)
        assert figure.axes[0].get_ylim()[0] > 0.4

    def test_says_that_three_points_are_too_few(self):
        found = learning_curve.learned(((2, 0.5, True), (4, 0.6, True), (4, 0.6, False), (6, 0.7, True)))
        assert found.curve is None
        assert "4 rounds with different numbers of labels" in found.words
        assert labels(learning_curve.curve_figure(found)) == ["took over", "candidate"]


def result(**keys):
    rows = [
        {"strategy": name, "seed": seed, "annotated": n, "dice": 0.7 + 0.01 * n + 0.02 * seed + gain, "round": 0}
        for name, gain in (("default", 0.05), ("_random", 0.0))
        for seed in range(3)
        for n in (8, 4)
    ]
    paired = [{"a": "default", "b": "_random", "mean": 0.05, "n": 3, "low": 0.04, "high": 0.06, "p_t": 0.03}]
    area = {"default": {"mean": 0.83, "std": 0.02, "n": 3}}
    return {"curves": rows, "aubc": area, "final": area, "paired": paired, "complete": 5, "runs": 6, **keys}


@pytest.fixture
def folder(tmp_path):
    """A project folder with one simulation."""
    home = tmp_path / "study" / "simulations" / "first"
    home.mkdir(parents=True)
    (home / "result.json").write_text(json.dumps(result(spec={"initial": 4, "query": 4})))
    return tmp_path / "study"


class TestSimulations:
    def test_a_thin_line_per_seed_and_a_mean_with_a_band_per_strategy(self, folder):
        (simulation,) = simulated.gather(folder).found
        figure = simulated.curves_figure(simulation)
        thin = [one for one in figure.axes[0].get_lines() if one.get_linewidth() < 1]
        assert len(thin) == 2 * 3
        assert len(figure.axes[0].collections) == 2
        assert line(figure, "default") == ([4, 8], pytest.approx([0.81, 0.85]))
        assert labels(figure) == ["default", " _random"]
        low, high = simulation.mean("default")[0][2:]
        assert 0.789 < low < 0.81 < high < 0.831

    def test_tables_hold_areas_and_paired_tests(self, folder):
        (simulation,) = simulated.gather(folder).found
        assert simulated.areas_table(simulation).rows[0] == ("default", 3, 0.83, 0.02, 0.83, 0.02)
        assert simulated.areas_table(simulation).rows[1][1:3] == (0, None)
        (pair,) = simulated.pairs_table(simulation).rows
        assert pair[:5] == ("default − _random", 3, 0.05, "0.0400 to 0.0600", 0.03)

    def test_says_what_was_simulated_and_what_is_missing(self, folder):
        first = simulated.section(folder).blocks[0].text
        assert "2 strategies, 3 seeds, 4 initial labels, 4 scans per query" in first
        assert "The truth answered in place of a person." in first
        assert "Only 5 of 6 runs are complete." in first

    def test_shows_a_folder_given_twice_once(self, folder, tmp_path):
        own = folder / "simulations" / "first"
        assert len(simulated.gather(folder, [own]).found) == 1
        other = tmp_path / "other"
        other.mkdir()
        (other / "result.json").write_text(json.dumps(result()))
        assert [one.name for one in simulated.gather(folder, [own, other]).found] == ["first", "other"]

    @pytest.mark.parametrize("content", ["{", "[]", '{"curves": [{"strategy": "dasl"}]}', "\udcff"])
    def test_a_damaged_result_is_refused_when_named_and_told_when_found(self, folder, content):
        home = folder / "simulations" / "second"
        home.mkdir()
        (home / "result.json").write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(InputError, match=r"result\.json"):
            simulated.read(home)
        found = simulated.gather(folder)
        assert [one.name for one in found.found] == ["first"]
        assert len(found.problems) == 1
        assert simulated.section(folder).blocks[0].warning

    def test_a_simulation_without_points_has_no_figure(self, folder):
        home = folder / "simulations" / "first" / "result.json"
        home.write_text(json.dumps(result(curves=[])))
        assert [block.text for block in simulated.section(folder).blocks][1:] == ["It has no point yet."]


def test_figures_do_not_depend_on_the_settings_of_this_machine(lived):
    import matplotlib as mpl

    plain = drawing.svg(summary.states_figure(summary.gather(lived)))
    with mpl.rc_context({"font.size": 20, "svg.fonttype": "none", "axes.grid": False}):
        assert drawing.svg(summary.states_figure(summary.gather(lived))) == plain


def test_a_name_in_another_script_is_drawn_without_a_warning(lived):
    history = replace(rounds.gather(lived), classes=("肝臓", "$\\bad{$"))
    assert "<svg" in drawing.svg(rounds.guard_figure(history))
