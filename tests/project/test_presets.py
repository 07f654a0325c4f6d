"""Presets: named settings that a new project starts from."""

from __future__ import annotations

import pytest

from napari_dasl.errors import ProjectError
from napari_dasl.project import Project, ProjectConfig, RankingConfig, SelfpacedConfig, config, presets, setup
from napari_dasl.project.curriculum_config import CurriculumConfig, Recipe


def test_the_presets_are_the_files_of_the_folder():
    assert presets.names() == (
        "default",
        "dasl-paper",
        "liver-three-stage",
        "patch-growth-performance",
        "patch-growth-resource",
        "pet-bootstrapping",
        "pet-self-paced",
        "stroke-contrast",
        "stroke-gradient",
    )


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_only_sets_keys_that_exist_and_says_what_it_is(name):
    given = presets.load(name)
    assert set(given) <= {"ranking", "training", "selfpaced", "curriculum"}
    made = ProjectConfig(name="x", modality="CT", preset=name)
    for table, keys in given.items():
        for key, value in keys.items():
            stored = getattr(getattr(made, table), key)
            assert (list(stored) if isinstance(stored, tuple) else stored) == value
    about = presets.about(name)
    assert about.title
    assert about.sentence.endswith(".")
    assert len(about.sentence) < 140
    assert bool(about.paper) == bool(about.network) == (name != "default")


def test_the_default_preset_changes_nothing():
    plain = ProjectConfig(name="x", modality="CT", preset="default")
    assert plain.ranking == RankingConfig()
    assert plain.selfpaced == SelfpacedConfig()
    assert (plain.training.recipe, plain.curriculum) == (Recipe(), CurriculumConfig())
    assert plain.curriculum.plain


def test_the_paper_is_the_paper():
    paper = ProjectConfig(name="x", modality="CT", preset="dasl-paper")
    assert (paper.ranking.strategy, paper.ranking.beta, paper.ranking.region, paper.ranking.query) == (
        "dasl",
        1.0,
        "volume",
        20,
    )
    paced = paper.selfpaced
    assert (paced.regularizer, paced.pace, paced.pace0, paced.alpha) == ("linear", "paper", 0.005, 0.002)
    assert (paced.phases, paced.view, paced.least_dice) == (("spl", "al", "spl"), "own", 0.0)


def test_what_is_given_goes_before_the_preset():
    given = {"query": 5}
    as_values = ProjectConfig(name="x", modality="CT", preset="dasl-paper", ranking=given)
    as_model = ProjectConfig(name="x", modality="CT", preset="dasl-paper", ranking=RankingConfig(query=5))
    assert as_values == as_model
    assert (as_values.ranking.query, as_values.ranking.region) == (5, "volume")


def test_a_new_project_has_the_settings_in_its_file(tmp_path, scans):
    setup.make(tmp_path / "study", images=scans, modality="CT", preset="dasl-paper")
    text = (tmp_path / "study" / "project.toml").read_text(encoding="utf-8")
    for line in ('preset = "dasl-paper"', 'strategy = "dasl"', 'pace = "paper"', "least_dice = 0.0"):
        assert line in text.splitlines()
    with Project.open(tmp_path / "study") as project:
        assert project.config.selfpaced == ProjectConfig(name="x", modality="CT", preset="dasl-paper").selfpaced


def test_an_unknown_preset_is_refused_with_those_there_are(tmp_path, scans):
    with pytest.raises(ProjectError, match=r"preset is 'dasl_paper', but must be one of default, dasl-paper, "):
        setup.make(tmp_path / "study", images=scans, modality="CT", preset="dasl_paper")
    assert not (tmp_path / "study").exists()


def test_an_unknown_preset_in_a_project_file_is_a_clear_error(tmp_path):
    file = tmp_path / "project.toml"
    text = config.dump(ProjectConfig(name="x", modality="CT"))
    file.write_text(text.replace('preset = "default"', 'preset = "dasl-papr"'), encoding="utf-8")
    with pytest.raises(ProjectError, match=r"project\.toml: preset is 'dasl-papr'.*Did you mean dasl-paper\?"):
        config.load(file)
