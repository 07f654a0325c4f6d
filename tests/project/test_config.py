"""project.toml: what may be in it, what is said when something else is, and that hand-made edits survive."""

from __future__ import annotations

import pytest

from napari_dasl.errors import ProjectError
from napari_dasl.project import ProjectConfig, RankingConfig, SelfpacedConfig, config
from napari_dasl.project.curriculum_config import CurriculumConfig

STUDY = ProjectConfig(
    name='Liver "pilot" 2026',
    modality="CT",
    classes=("liver", "tumour"),
    guard=0.2,
    ranking=RankingConfig(strategy="random", beta=2.0),
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "project.toml"
    path.write_text(config.dump(STUDY), encoding="utf-8")
    return path


def changed(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_what_is_written_is_read_back(file):
    assert config.load(file) == STUDY


def test_a_file_from_before_curricula_means_what_it_meant(file):
    text = file.read_text(encoding="utf-8")
    older = text[: text.index("# Loss of a network")] + text[text.index("[selfpaced]") :]
    assert "curriculum" not in older
    file.write_text(older, encoding="utf-8")
    found = config.load(file)
    assert found == STUDY
    assert found.curriculum.plain
    assert found.training.recipe.given == {}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('scorer = "none"', 'scorer = "sizes"', ("curriculum.scorer", "'sizes'", "mean size?")),
        ('pacing = "all"', 'pacing = "root"\nstart = 2', ("curriculum.start", "2", "less than or equal to 1")),
        ('pacing = "all"', 'pacing = "root"\nlengths = [1, 0]', ("curriculum.lengths", "numbers above 0")),
        ("tolerance = 0.01", 'optimiser = "adan"', ("training.optimiser", "adamw, adam, rmsprop, sgd")),
    ],
)
def test_a_wrong_word_of_a_curriculum_is_explained(file, old, new, words):
    changed(file, old, new)
    with pytest.raises(ProjectError) as found:
        config.load(file)
    assert all(word in f"{found.value}" for word in words)


def test_an_empty_list_of_a_curriculum_is_one_that_is_not_given():
    assert CurriculumConfig(lengths=(), shares=[]) == CurriculumConfig()


def test_every_key_stands_under_a_comment(file):
    lines = file.read_text(encoding="utf-8").splitlines()
    keys = [i for i, line in enumerate(lines) if "=" in line and not line.startswith("#")]
    assert len(keys) > 15
    assert all(lines[i - 1].startswith("#") for i in keys)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('modality = "CT"', 'modality = "MRI"', ("modality", "'MRI'", "CT, PET, MR", "Did you mean MR?")),
        ("guard = 0.2", "guard = 1.5", ("guard", "1.5", "less than 1")),
        ("guard = 0.2", "guard = -0.1", ("guard", "-0.1", "greater than or equal to 0")),
        ("seed = 0", 'seed = "a"', ("seed", "'a'", "an integer")),
        ("network = ", "netwrok = ", ("netwrok", "unknown", "Did you mean network?", "preset")),
        ("beta = 2.0", "betta = 2.0", ("betta", "[ranking]", "Did you mean beta?")),
        (
            'region = "body"',
            'region = "lesoin"',
            ("ranking.region", "'lesoin'", "body, volume, lesion", "mean lesion?"),
        ),
        ('["liver", "tumour"]', '["liver", "Liver"]', ("classes", "differ from each other")),
        ('["liver", "tumour"]', '["background", "liver"]', ("classes", "background is always label 0")),
        ('["liver", "tumour"]', '["liver", 3]', ("classes[1]", "3", "a string")),
        ('["liver", "tumour"]', "[]", ("classes", "at least 1")),
        ('modality = "CT"', "", ("modality", "missing", "CT, PET, MR")),
        ('modality = "CT"', "modality = CT", ("not valid TOML", "line")),
        ("beta = 2.0", "beta = nan", ("ranking.beta", "nan")),
        ("pace0 = 0.005", "pace0 = inf", ("selfpaced.pace0", "inf", "a finite number")),
        ("explore = 0.0", "explore = 1.5", ("ranking.explore", "1.5", "less than or equal to 1")),
        ("samples = 6", "samples = 1", ("ranking.samples", "1", "greater than or equal to 2")),
        ('start = "active"', 'start = "activ"', ("training.start", "'activ'", "scratch, active", "mean active?")),
        ('pace = "quantile"', 'pace = "papr"', ("selfpaced.pace", "'papr'", "quantile, paper", "mean paper?")),
        ('regularizer = "rescaled"', 'regularizer = "logaritmic"', ("one of linear, hard", "mean logarithmic?")),
        ("quantile = 0.2", "quantil = 0.2", ("quantil in [selfpaced]", "unknown", "Did you mean quantile?")),
        ("[selfpaced]", "[selfpased]", ("selfpased", "unknown", "Did you mean selfpaced?")),
        ('["spl", "al", "spl"]', '["spl", "sl"]', ("selfpaced.phases[1]", "'sl'", "one of spl, al", "Did you mean")),
        ('["spl", "al", "spl"]', '["spl"]', ("selfpaced.phases", 'at least one "al"')),
        ('["spl", "al", "spl"]', "[]", ("selfpaced.phases", "at least 1")),
        ("ceiling = 0.8", "ceiling = 0.1", ("selfpaced.ceiling", "0.1", "as large as quantile")),
        ("least_dice = 0.5", "least_dice = 50", ("selfpaced.least_dice", "50", "less than or equal to 1")),
    ],
)
def test_a_mistake_is_named_with_file_key_value_and_what_is_allowed(file, old, new, words):
    changed(file, old, new)
    with pytest.raises(ProjectError) as caught:
        config.load(file)
    assert all(word in str(caught.value) for word in (str(file), *words)), str(caught.value)


def test_a_folder_without_the_file_is_not_a_project(tmp_path):
    with pytest.raises(ProjectError, match="is not a project"):
        config.load(tmp_path / "project.toml")


def test_an_update_keeps_comments_order_and_values_of_hand_made_edits(file):
    changed(file, "beta = 2.0", "beta = 3.0   # what Anna found best")
    changed(file, "# napari-dasl project.", "# Ethics vote 17/2026.\n# napari-dasl project.")
    before = file.read_text(encoding="utf-8")
    new, text = config.updated(file, {"channels": ("PET", "CT"), "ranking.query": 5, "training.steps": 100})
    assert (new.channels, new.ranking.query, new.ranking.beta, new.training.steps) == (("PET", "CT"), 5, 3.0, 100)
    assert "beta = 3.0   # what Anna found best" in text
    assert text.startswith("# Ethics vote 17/2026.")
    kept = [line for line in before.splitlines() if not line.startswith(("channels", "query"))]
    assert [line for line in text.splitlines() if line in kept] == kept


def test_an_update_to_a_wrong_value_is_refused(file):
    with pytest.raises(ProjectError, match="guard"):
        config.updated(file, {"guard": 7})


def test_an_update_to_none_takes_the_key_away(file):
    _, text = config.updated(file, {"training.steps": 100})
    file.write_text(text, encoding="utf-8")
    new, text = config.updated(file, {"training.steps": None})
    assert new.training.steps is None
    assert "steps = 100" not in text


def test_a_file_of_before_self_pacing_has_the_defaults(tmp_path):
    path = tmp_path / "project.toml"
    path.write_text('name = "old"\nmodality = "MR"\npreset = "default"\n[ranking]\nquery = 7\n', encoding="utf-8")
    old = config.load(path)
    assert (old.ranking.query, old.ranking.samples, old.ranking.power, old.ranking.explore) == (7, 6, 8.0, 0.0)
    assert old.training.start == "active"
    assert old.selfpaced == SelfpacedConfig()
    assert old.selfpaced.phases == ("spl", "al", "spl")


@pytest.mark.parametrize(
    ("pace", "regularizer", "refused"),
    [("paper", "logarithmic", True), ("quantile", "logarithmic", False), ("paper", "linear", False)],
)
def test_the_logarithm_has_no_room_for_a_pace_of_one(file, pace, regularizer, refused):
    changed(file, "pace0 = 0.005", "pace0 = 1.0")
    changed(file, 'pace = "quantile"', f'pace = "{pace}"')
    changed(file, 'regularizer = "rescaled"', f'regularizer = "{regularizer}"')
    if refused:
        with pytest.raises(ProjectError, match=r"selfpaced\.pace0 is 1\.0, but must be below 1 with the logarithmic"):
            config.load(file)
    else:
        assert config.load(file).selfpaced.pace0 == 1.0
