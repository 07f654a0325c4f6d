"""What the next round takes and asks, before it starts; and where self-pacing stands after the rounds so far."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from napari_dasl import rounds
from napari_dasl.errors import ProjectError
from napari_dasl.project.records import LoggedEvent, Round
from napari_dasl.rounds import RoundPlan, phases
from napari_dasl.rounds.phases import Standing, fold, preview

START = datetime(2026, 1, 1, tzinfo=UTC)


def done(number: int, phase: str, *, promoted: bool = True, dice: float | None = 0.8, **pacing) -> Round:
    result = {"phase": phase, "promoted": promoted, "guard": {"dice": dice}, **pacing}
    slot = None if number == 1 else number
    plan = {"slot": slot, "judged": dice is not None}
    at = START + timedelta(hours=number)
    return Round(number, phase, "done", plan, result, at, at, Path())


def switched(hour: float, **payload) -> LoggedEvent:
    return LoggedEvent("selfpaced", payload, START + timedelta(hours=hour))


class TestTheFold:
    def test_lambda_moves_on_with_rounds_that_took_over_and_not_with_others(self):
        history = [
            done(1, "al"),
            done(2, "spl", quantile=0.2, **{"lambda": 0.5}),
            done(3, "spl", promoted=False, quantile=0.3, **{"lambda": 0.6}),
            done(4, "al"),
        ]
        assert fold(history, []) == Standing(slot=3, iteration=1, pace=0.5, quantile=0.2, failures=1)

    def test_two_failures_in_a_row_switch_off_even_with_a_round_of_labels_between(self):
        history = [done(1, "al"), done(2, "spl", promoted=False), done(3, "al"), done(4, "spl", promoted=False)]
        assert fold(history, []).off == phases.TWO_FAILURES
        assert fold([*history[:3], done(4, "spl"), done(5, "spl", promoted=False)], []).off == ""

    def test_switching_on_again_forgets_the_failures(self):
        history = [done(1, "al"), done(2, "spl", promoted=False), done(3, "spl", promoted=False)]
        assert fold(history, [switched(3.5, enabled=True)]) == Standing(slot=2)
        assert fold(history, [switched(2.5, enabled=True)]).failures == 1

    def test_switching_off_says_why(self):
        assert fold([done(1, "al")], [switched(2, enabled=False, why="so I decided")]).off == "so I decided"

    def test_a_round_that_nothing_could_judge_is_no_failure(self):
        history = [done(n, "spl", promoted=False, dice=None) for n in (2, 3)]
        assert fold(history, []) == Standing(slot=2)

    def test_unfinished_rounds_and_rounds_of_older_versions_count_for_nothing(self):
        at = START + timedelta(hours=9)
        old = Round(1, "al", "done", {"steps": 5}, {"promoted": True}, at, at, Path())
        failed = Round(2, "spl", "failed", {"slot": 0}, {}, at, at, Path())
        assert fold([old, failed], []) == Standing()


@pytest.fixture
def begun(project, script, pool):
    """A project after its first round, with a model of guard Dice 0.8."""
    script.losses = {name: 0.1 * number for number, name in enumerate(pool, 1)}
    script.dice = [0.8] * 9
    rounds.run(project, RoundPlan(device="cpu"))
    return project


class TestThePreview:
    def test_of_the_first_round_trains_on_labels(self, project):
        found = preview(project)
        assert (found.phase, found.human, found.asks) == ("al", 6, ())
        assert found.sentence == "This round trains on your 6 labels."

    def test_of_an_spl_round_is_what_that_round_then_does(self, begun):
        found = preview(begun)
        assert (found.phase, found.human, found.pseudo) == ("spl", 6, 1)
        said = "This round takes 1 prediction as pseudo-label (mean weight 1.00) beside your 6 labels."
        assert found.sentence == said
        result = rounds.run(begun, RoundPlan(device="cpu"))
        assert result.phase == "spl"
        assert (result.pace, result.quantile, result.accuracy) == (found.pace, found.quantile, found.accuracy)
        assert result.pseudo["taken"] == found.pseudo
        assert result.pseudo["effective"] == pytest.approx(found.effective)

    def test_of_an_al_round_names_the_open_cases_and_waits_for_them(self, begun, pool, balls):
        begun.update_config(ranking__query=3)
        rounds.run(begun, RoundPlan(device="cpu"))
        assert preview(begun).asks == tuple(pool[:3])
        begun.record_label(pool[0], balls / "labels" / f"{pool[0]}.nii.gz", author="ann")
        begun.skip(pool[1])
        found = preview(begun)
        assert found.waits_for == (pool[2],)
        assert found.sentence == f"This round first asks for 3 cases; 1 is still open: {pool[2]}."
        with pytest.raises(ProjectError, match=f"still open: {pool[2]}") as refused:
            rounds.run(begun, RoundPlan(device="cpu"))
        assert "--phase al" in refused.value.hint
        assert len(begun.rounds()) == 2
        begun.skip(pool[2])
        assert rounds.run(begun, RoundPlan(device="cpu")).phase == "al"

    @pytest.mark.parametrize("plan", [RoundPlan(phase="al"), RoundPlan(steps=3), RoundPlan(minutes=1)])
    def test_a_phase_or_a_length_in_so_many_words_waits_for_nobody(self, begun, plan):
        rounds.run(begun, RoundPlan(device="cpu"))
        heard = []
        result = rounds.run(begun, plan.model_copy(update={"device": "cpu"}), report=heard.append)
        assert result.phase == "al"
        assert any("still open" in getattr(event, "text", "") for event in heard)
        assert preview(begun).phase == "spl"

    def test_says_that_pseudo_labels_are_off_and_why(self, begun):
        phases.switch(begun, False, phases.TWO_FAILURES)
        found = preview(begun)
        assert found.phase == "al"
        assert found.sentence.startswith(
            "Pseudo-labels are off: two rounds with them made the model worse on the guard set."
        )
        phases.switch(begun, True)
        assert preview(begun).phase == "spl"

    def test_says_that_the_model_is_not_good_enough_yet(self, begun):
        begun.update_config(selfpaced__least_dice=0.9)
        found = preview(begun)
        assert (found.phase, found.pseudo) == ("al", 0)
        assert "Dice 0.80" in found.off_reason
        assert "0.90" in found.off_reason
        result = rounds.run(begun, RoundPlan(device="cpu"))
        assert (result.phase, result.fallback) == ("al", found.off_reason)
        assert result.sentence.startswith(found.off_reason)

    def test_changes_nothing(self, begun):
        before = (begun.rounds(), begun.pseudo_labels(), begun.events())
        preview(begun)
        assert (begun.rounds(), begun.pseudo_labels(), begun.events()) == before


def test_a_preview_needs_no_torch(project_folder):
    script = (
        "import sys\n"
        "from napari_dasl.project import Project\n"
        "from napari_dasl.rounds.phases import preview\n"
        f"with Project.open({str(project_folder)!r}) as project:\n"
        "    print(preview(project).sentence)\n"
        "sys.exit(('torch' in sys.modules) * 9)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr
    assert "6 labels" in found.stdout
