"""The parts of a score in words: every number that a strategy may give has a name and teaches what it means."""

import pytest

from napari_dasl.project import Score
from napari_dasl.widgets.score_words import part, parts

EVERY = (
    "uncertainty", "uncertainty_volume", "uncertainty_body", "uncertainty_lesion", "entropy_lesion", "entropy_volume",
    "uncertainty_topq", "entropy_per_foreground", "volume_ml_1", "regions",
    "mutual_information", "pairwise_dice", "pass_disagreement", "similarity", "factor", "noise", "exponent", "stratum",
    "class_score_2", "explored", "foreground_ml", "self_loss", "loss_previous", "agreement_previous", "loss_teacher",
    "empty", "max_foreground", "uncertain_regions", "undecided_spots", "largest_region_ml", "like_unlabelled",
    "like_labelled", "difficulty",
)  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_a_part_has_words_of_its_own(name):
    found = part(name, 0.5)
    assert "_" not in found.name
    assert "documentation" not in found.meaning
    assert found.meaning.endswith(".")
    assert found.value


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("empty", 1.0, "yes"),
        ("max_foreground", 0.994, "99%"),
        ("uncertain_regions", 3.0, "3"),
        ("largest_region_ml", 0.77, "0.77 ml"),
        ("largest_region_ml", 0.05, "50 mm³"),
        ("like_unlabelled", 93.2, "more than 93 %"),
        ("uncertainty_lesion", 0.0938, "0.0938"),
        ("novel_thing", 2.0, "2"),
    ],
)
def test_a_number_is_written_as_one_reads_it(name, value, text):
    assert part(name, value).value == text


def test_the_place_comes_first_and_no_number_comes_twice():
    score = Score(
        "a", "m", 2, 0.4, 0.3, 0.6, parts={"uncertainty": 0.3, "uncertainty_lesion": 0.3, "uncertainty_body": 0.1}
    )
    found = [(one.name, one.value, one.detail) for one in parts(score, 9)]
    assert found == [
        ("Place in the list", "2 of 9", False),
        ("Score", "0.4", False),
        ("Similarity to the others", "0.6", False),
        ("Unsure · around findings", "0.3", False),  # what decided
        ("Unsure · inside the body", "0.1", True),
    ]
