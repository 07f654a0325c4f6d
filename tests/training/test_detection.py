"""Training a detector: what it is shown, where, and that it learns, stops and goes on to the same bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_dasl.errors import Cancelled, InputError
from napari_dasl.training.detection import DetectionObjective
from napari_dasl.training.device import Precision, measure_precision
from napari_dasl.training.lesions import UNSEEN
from napari_dasl.training.loop import Budget, train
from napari_dasl.training.memory import estimate_memory_mb
from napari_dasl.training.mixing import Mixing
from napari_dasl.training.normalise import Normalisation
from napari_dasl.training.patches import draw_rejected
from napari_dasl.training.plan import Augmentation, TrainingPlan
from napari_dasl.training.prepare import Cache
from napari_dasl.training.weights import build_network

STILL = Augmentation(mirror=(), affine=0, intensity=0, noise=0)
SMALL = {"growth": 4, "blocks": [1, 1, 1], "stem": 8, "width": 16, "features": 8, "mask_size": 8}


def scan(seed: int, balls: int = 2, shape=(40, 44, 36), radius=(3.0, 5.0)):
    """A noisy scan (1, z, y, x) with bright balls far apart, and the map that numbers them."""
    rng = np.random.default_rng(seed)
    ids = np.zeros(shape, np.uint16)
    grid = np.indices(shape)
    for number in range(1, balls + 1):
        centre = [rng.uniform(0.2, 0.8) * n for n in shape]
        centre[0] = (number - 0.5) / balls * shape[0]  # one above the other, so that none touches the next
        distance = sum((axis - p) ** 2 for axis, p in zip(grid, centre, strict=True)) ** 0.5
        ids[distance < rng.uniform(*radius)] = number
    image = rng.normal(0, 20, shape) + 100 * (ids > 0)
    return image[None].astype(np.float32), ids


@pytest.fixture
def detector() -> TrainingPlan:
    return TrainingPlan(
        modality="CT",
        channels=("image",),
        classes=("lesion",),
        network="nodule-rcnn",
        network_options={**SMALL, "anchor_sizes": [6.0, 8.0, 11.0]},
        spacing=(1.0, 1.0, 1.0),
        patch=(32, 32, 32),
        batch=2,
        steps=12,
        learning_rate=1e-2,
        foreground=0.7,
        augmentation=Augmentation(mirror=("z", "y", "x")),
        normalisation=(Normalisation(channel="image", rule="ct", lower=-100, upper=200, centre=0, scale=50),),
        precision="fp32",
    )


@pytest.fixture
def slices(detector) -> TrainingPlan:
    """A network of slices, small in every part."""
    return TrainingPlan.model_validate(
        detector.model_dump()
        | {
            "network": "mask-rcnn",
            "network_options": {
                "layers": [1, 1, 1, 1],
                "planes": 8,
                "width": 16,
                "features": 8,
                "mask_size": 8,
                "anchor_sizes": [6.0, 8.0, 11.0],
            },
            "patch": (1, 32, 32),
            "spacing": (4.0, 1.0, 1.0),
        }
    )


@pytest.fixture
def scans(make_case):
    return [replace(make_case(f"case{seed}", *scan(seed)), instances=True) for seed in range(3)]


@pytest.fixture
def make(tmp_path):
    """The batch of a step for a plan and cases."""

    def batch(plan, cases, step=0):
        cache = Cache(tmp_path / "cache", plan)
        return DetectionObjective().make(plan, [cache.case(c) for c in cases], step, Mixing(), human_only=False)

    return batch


def same(a, b) -> bool:
    first, second = load_file(a), load_file(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class StopAt:
    """Says stop after as many questions."""

    def __init__(self, count):
        self.left = count

    def __call__(self):
        self.left -= 1
        return self.left < 0


# What a batch holds


def boxes_of(target):
    """Cubes measured anew, the slow way, from the map of the sample."""
    cubes = []
    for number in target.ids.tolist():
        place = np.argwhere(target.id_map.numpy() == number)
        low, high = place.min(0), place.max(0) + 1
        cubes.append([*(low + high) / 2, (high - low).max()])
    return np.asarray(cubes, np.float32).reshape(-1, target.id_map.ndim + 1)


def test_boxes_are_those_of_the_lesions_as_the_patch_shows_them(detector, scans, make):
    turned = detector.model_copy(update={"augmentation": Augmentation(mirror=("z", "y", "x"), affine=1.0)})
    seen = 0
    for step in range(8):
        batch = make(turned, scans, step)
        assert batch.image.shape == (2, 1, 32, 32, 32)
        for target in batch.targets:
            assert np.array_equal(target.cubes.numpy(), boxes_of(target))
            assert set(target.id_map.unique().tolist()) - {0, UNSEEN} == set(target.ids.tolist())
            assert (target.classes == 0).all()
            seen += len(target.cubes)
    assert seen


def test_images_and_masks_are_turned_together(detector, scans, make):
    turned = detector.model_copy(
        update={"augmentation": Augmentation(mirror=("z", "y", "x"), affine=1.0, intensity=0, noise=0)}
    )
    for step in range(6):
        batch = make(turned, scans, step)
        for image, target in zip(batch.image, batch.targets, strict=True):
            inside = target.id_map > 0
            if inside.any():
                assert image[0][inside].mean() > 1.5  # balls are 2 above the noise around 0
                assert image[0][~inside].mean() < 0.4


def test_seven_of_ten_patches_show_a_lesion_even_where_few_scans_have_one(detector, make_case, make):
    image, ids = scan(0, balls=1, shape=(64, 64, 64))
    empty = [make_case(f"empty{k}", *scan(k + 5, balls=0, shape=(64, 64, 64))) for k in range(3)]
    cases = [replace(case, instances=True) for case in [make_case("one", image, ids), *empty]]
    plan = detector.model_copy(update={"batch": 8, "augmentation": STILL})
    shown = [len(target.cubes) > 0 for step in range(40) for target in make(plan, cases, step).targets]
    # 70 %, and of the random ones those that meet it by chance: one case of four, a part of its volume.
    assert 0.64 < np.mean(shown) < 0.80


def test_the_lesion_is_whole_where_it_was_asked_for_and_lies_anywhere(detector, make_case, make):
    image, ids = scan(1, balls=1, shape=(64, 64, 64))
    plan = detector.model_copy(update={"foreground": 1.0, "augmentation": STILL, "batch": 4})
    case = replace(make_case("a", image, ids), instances=True)
    targets = [target for step in range(10) for target in make(plan, [case], step).targets]
    assert all(int((target.id_map > 0).sum()) == int((ids > 0).sum()) for target in targets)
    centres = np.asarray([target.cubes[0, :3].numpy() for target in targets])
    assert (centres.std(axis=0) > 3).all()


def test_a_sliver_of_a_lesion_is_not_asked_for(detector, make_case, make):
    image, ids = scan(2, balls=1, shape=(64, 64, 64))
    plan = detector.model_copy(update={"foreground": 0.0, "augmentation": STILL, "batch": 8})
    case = replace(make_case("a", image, ids), instances=True)
    sizes = [int((t.id_map > 0).sum()) for step in range(60) for t in make(plan, [case], step).targets]
    whole = int((ids > 0).sum())
    assert any(0 < size < whole for size in sizes)
    assert all(size == 0 or size >= whole / 4 for size in sizes)


def test_outside_the_scan_there_is_air_and_no_lesion(detector, make_case, make):
    image = np.full((1, 6, 40, 40), 100, np.float32)
    ids = np.zeros((6, 40, 40), np.uint16)
    ids[:, 15:24, 15:24] = 7  # through every slice there is
    plan = detector.model_copy(update={"foreground": 1.0, "augmentation": STILL})
    for step in range(5):
        batch = make(plan, [replace(make_case("a", image, ids), instances=True)], step)
        for patch, target in zip(batch.image, batch.targets, strict=True):
            assert int((target.id_map > 0).any(dim=2).any(dim=1).sum()) == 6
            assert float(patch.min()) == -2.0  # the lower limit of the rule
            assert int((patch[0] > 0).any(dim=2).any(dim=1).sum()) == 6


def test_touching_lesions_stay_two_where_the_label_numbers_them(detector, make_case, make):
    image = np.zeros((1, 32, 32, 32), np.float32)
    ids = np.zeros((32, 32, 32), np.uint16)
    ids[10:20, 8:16, 10:20], ids[10:20, 16:24, 10:20] = 4000, 17
    plan = detector.model_copy(update={"foreground": 1.0, "augmentation": STILL})
    numbered = make(plan, [replace(make_case("a", image, ids), instances=True)])
    assert [len(target.cubes) for target in numbered.targets] == [2, 2]
    joined = make(plan, [make_case("b", image, (ids > 0).astype(np.uint8))])
    assert [len(target.cubes) for target in joined.targets] == [1, 1]


def test_classes_of_lesions_are_kept(detector, make_case, make):
    label = np.zeros((32, 32, 32), np.uint8)
    label[4:10, 4:10, 4:10], label[20:28, 20:28, 20:28] = 2, 1
    plan = detector.model_copy(update={"classes": ("a", "b"), "augmentation": STILL, "foreground": 1.0})
    target = make(plan, [make_case("a", np.zeros((1, 32, 32, 32), np.float32), label)]).targets[0]
    assert {round(float(c[3])): int(k) for c, k in zip(target.cubes, target.classes, strict=True)} == {6: 1, 8: 0}


# Findings that a person rejected


def test_a_rejected_finding_is_shown_as_background(detector, make_case, make):
    image, ids = scan(3, balls=1, shape=(96, 64, 64))
    lesion, wrong = np.argwhere(ids > 0).mean(0), (80, 30, 30)
    image[0, 78:82, 28:32, 28:32] = 400  # so that one can see whether a patch shows it
    box = tuple(float(w - 2.5) for w in wrong) + tuple(float(w + 1.5) for w in wrong)
    assert lesion[0] < 60
    plan = detector.model_copy(update={"augmentation": STILL, "foreground": 0.0, "batch": 4})
    case = replace(make_case("a", image, ids), instances=True)

    def share(case):
        batches = [make(plan, [case], step) for step in range(25)]
        return np.mean([float(image.max()) == 4.0 for batch in batches for image in batch.image])

    without, with_box = share(case), share(replace(case, negatives=(box,)))
    assert without < 0.3
    assert with_box > 0.5


@pytest.mark.parametrize("alternate", [False, True])
def test_few_rejected_findings_among_many_cases_are_shown_all_the_same(detector, make_case, tmp_path, alternate):
    """Every second background patch shows one, also under patches that show a lesion and none in turn."""
    cache, cases = Cache(tmp_path / "cache", detector), []
    for seed in range(12):
        image, ids = scan(seed, balls=1, shape=(64, 48, 48), radius=(3.0, 3.5))
        ids[:32], image[:, :32] = 0, 0  # so that there is room for a patch beside the lesion
        cases.append(replace(make_case(f"case{seed}", image, ids), instances=True))
    cases[3].image()[0, 10:14, 20:24, 20:24] = 400  # so that one can see whether a patch shows it
    without = [cache.case(case) for case in cases]
    cases[3] = replace(cases[3], negatives=((9.5, 19.5, 19.5, 13.5, 23.5, 23.5),))
    with_one = [cache.case(case) for case in cases]
    plan = detector.model_copy(update={"augmentation": STILL, "foreground": 0.0, "batch": 4, "patch": (16, 16, 16)})

    def batches(cases, steps):
        objective = DetectionObjective()
        return [
            objective.make(plan, cases, step, Mixing(), human_only=False, alternate=alternate) for step in range(steps)
        ]

    shown = [float(one.max()) == 4.0 for batch in batches(with_one, 40) for one in batch.image]
    assert np.mean(shown) == pytest.approx(0.25 if alternate else 0.5, abs=0.08)
    if alternate:
        lesions = [len(target.ids) > 0 for batch in batches(with_one, 10) for target in batch.targets]
        assert lesions == [True, False] * 20
    rng = np.random.default_rng(0)  # without any, every other draw stays what it was
    assert draw_rejected(without, plan.patch, rng) is None
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_without_a_label_only_the_rejected_place_is_known(detector, scans, make_case, make):
    image, _ = scan(4)
    box = (9.5, 11.5, 13.5, 17.5, 19.5, 23.5)  # mm, voxel centres: the voxels 10 to 17, 12 to 19, 14 to 23
    unlabelled = replace(make_case("bare", image, None), negatives=(box,))
    plan = detector.model_copy(update={"augmentation": STILL, "foreground": 0.0, "batch": 4})
    known = [t.known for step in range(10) for t in make(plan, [scans[0], unlabelled], step).targets]
    found = [k.numpy() for k in known if k is not None]
    assert 0 < len(found) < len(known)
    for corners in found:
        assert np.array_equal(corners[3:] - corners[:3], [8, 8, 10])
    turned = plan.model_copy(update={"augmentation": Augmentation(mirror=("z", "y", "x"), affine=1.0)})
    shown = [t for step in range(5) for t in make(turned, [unlabelled], step).targets]
    assert all(t.known is not None and not len(t.cubes) and not t.id_map.any() for t in shown)


def test_a_case_of_rejected_findings_alone_teaches_nothing(detector, make_case, tmp_path):
    bare = replace(make_case("bare", scan(4)[0], None), negatives=((1.0, 1.0, 1.0, 9.0, 9.0, 9.0),))
    with pytest.raises(InputError, match="no labelled case"):
        train(detector, [bare], tmp_path / "run", cache=Cache(tmp_path / "cache", detector))


# Learning


def test_it_learns_bright_balls(detector, scans, tmp_path):
    trained = train(
        detector,
        scans,
        tmp_path / "run",
        cache=Cache(tmp_path / "cache", detector),
        budget=Budget(steps=60),
        device="cpu",
    )
    assert trained.losses[-1][1] < 0.6 * trained.losses[0][1]


@pytest.mark.parametrize("name", ["detector", "slices"])
def test_a_stopped_run_goes_on_to_the_same_bits(name, request, scans, make_case, tmp_path):
    """Dropout, the places of regions and everything else that is drawn."""
    plan = request.getfixturevalue(name)
    plan = plan.model_copy(update={"network_options": {**plan.network_options, "dropout": 0.2}})
    bare = replace(make_case("bare", scan(4)[0], None), negatives=((5.0, 5.0, 5.0, 12.0, 12.0, 12.0),))
    cases = [*scans, bare]

    def start(folder, **options):
        cache = Cache(tmp_path / "cache", plan)
        return train(plan, cases, tmp_path / folder, cache=cache, budget=Budget(steps=8), device="cpu", **options)

    whole = start("whole")
    with pytest.raises(Cancelled, match="after step 3"):
        start("parts", cancelled=StopAt(len(cases) + 3))
    torch.manual_seed(12345)
    parts = start("parts", resume=True)
    assert same(whole.weights, parts.weights)
    assert whole.losses == parts.losses


def test_a_state_without_the_rejected_finding_is_refused(detector, scans, tmp_path):
    cache = Cache(tmp_path / "cache", detector)
    with pytest.raises(Cancelled):
        train(detector, scans, tmp_path / "run", cache=cache, cancelled=StopAt(len(scans) + 1))
    rejected = [replace(scans[0], negatives=((1.0, 1.0, 1.0, 5.0, 5.0, 5.0),)), *scans[1:]]
    with pytest.raises(InputError, match="other scans, labels or settings"):
        train(detector, rejected, tmp_path / "run", cache=cache, resume=True)


# Networks of slices


def test_a_network_of_slices_sees_slices_with_lesions(slices, make_case, make):
    image, ids = scan(0, balls=1, shape=(40, 44, 36))
    case = replace(make_case("a", image, ids, spacing=(6.0, 1.0, 1.0)), instances=True)
    plan = slices.model_copy(update={"foreground": 1.0, "augmentation": STILL, "batch": 4})
    drawn = [make(plan, [case], step) for step in range(6)]
    assert all(batch.image.shape == (4, 1, 32, 32) for batch in drawn)
    areas = {int((t.id_map > 0).sum()) for batch in drawn for t in batch.targets}
    assert 0 not in areas
    # The scan's own slices, none between them: every area is that of a slice.
    assert areas <= {int(plane.sum()) for plane in ids > 0}


def test_a_slice_is_turned_within_itself(slices, make_case, make):
    image = np.zeros((1, 12, 40, 40), np.float32)
    image[0, 6] = 100
    ids = np.zeros((12, 40, 40), np.uint16)
    ids[6, 14:26, 14:26] = 1
    plan = slices.model_copy(
        update={"foreground": 1.0, "augmentation": Augmentation(mirror=(), affine=1, intensity=0, noise=0)}
    )
    for step in range(6):
        batch = make(plan, [replace(make_case("a", image, ids), instances=True)], step)
        assert batch.image.max() == pytest.approx(2.0, abs=1e-3)
        for patch, target in zip(batch.image, batch.targets, strict=True):
            assert (patch[0][target.id_map > 0] > 1.9).all()


def test_two_parts_of_a_lesion_in_one_slice_are_two(slices, make_case, make):
    ids = np.zeros((3, 32, 32), np.uint16)
    ids[1, 4:10, 4:10], ids[1, 20:28, 20:28] = 5, 5
    plan = slices.model_copy(update={"foreground": 1.0, "augmentation": STILL})
    case = replace(make_case("a", np.zeros((1, 3, 32, 32), np.float32), ids), instances=True)
    assert [sorted(t.cubes[:, 2].tolist()) for t in make(plan, [case]).targets] == [[6.0, 8.0], [6.0, 8.0]]


# The machine


@pytest.mark.parametrize("name", ["detector", "slices"])
def test_time_and_memory_of_a_detector_are_known_before_it_starts(name, request):
    plan = request.getfixturevalue(name)
    network = build_network(plan)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = measure_precision(plan.model_copy(update={"precision": "auto"}), network, torch.device("cpu"), repeat=1)
    assert isinstance(found, Precision)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    one = estimate_memory_mb(plan)
    four = estimate_memory_mb(plan.model_copy(update={"batch": 4 * plan.batch}))
    assert 600 < one < four
