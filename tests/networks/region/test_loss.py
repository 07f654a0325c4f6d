"""The loss of the region network: what it teaches, what it leaves alone, and that a network learns from it."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from napari_dasl import networks
from napari_dasl.networks.region import loss
from napari_dasl.networks.region.boxes import encode, iou, to_corners
from napari_dasl.networks.region.loss import (
    Targets,
    box_regression,
    classification,
    mask_loss,
    mask_targets,
    region_loss,
)
from napari_dasl.networks.region.proposals import Regions, jittered, mask_regions, refine_regions
from napari_dasl.networks.region.roi import roi_align

SMALL = {"growth": 4, "blocks": (1, 1, 1), "stem": 8, "width": 8, "features": 4, "mask_size": 8}


def build(dims=2, classes=1, **options):
    torch.manual_seed(1)
    return networks.build("nodule-rcnn", 1, classes + 1, spatial_dims=dims, **{**SMALL, **options})


def spheres(shape, lesions, seed=0):
    """An image (1, …) with bright (class 0) or dark (class 1) spheres (centre, radius, class), and its truth."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(side) + 0.5 for side in shape), indexing="ij"), dim=-1)
    image = 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    ids = torch.zeros(shape, dtype=torch.int32)
    for number, (centre, radius, kind) in enumerate(lesions, 1):
        inside = (grid - torch.tensor(centre)).square().sum(-1) < radius**2
        image[inside] += 1.5 if kind == 0 else -1.5
        ids[inside] = 10 * number
    return image[None], Targets(
        torch.tensor([[*centre, 2 * radius] for centre, radius, _ in lesions]).reshape(-1, len(shape) + 1).float(),
        torch.tensor([kind for _, _, kind in lesions], dtype=torch.int64),
        torch.arange(1, len(lesions) + 1) * 10,
        ids,
    )


def pasted(network, found, row, shape):
    """The mask number *row* of *found* on the voxels of the image: bool."""
    cube = found.cubes[row]
    side = cube[-1] * network.roi_scale
    places = [(torch.arange(n) + 0.5 - c) / side * 2 for n, c in zip(shape, cube[:-1], strict=True)]
    grid = torch.stack(torch.meshgrid(*places, indexing="ij")[::-1], dim=-1)[None]
    drawn = functional.grid_sample(found.masks[row][None, None], grid, align_corners=False, padding_mode="border")
    return (drawn[0, 0] >= 0.5) & (grid[0].abs() <= 1).all(-1)


def gradients(network):
    return [p.grad for p in network.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    ("shape", "steps", "rate", "options"),
    [
        ((16, 32, 32), 90, 3e-3, {"mask_size": 16}),
        ((48, 48), 90, 3e-3, {"mask_size": 16, "refine": True}),
        ((32, 32), 90, 3e-3, {"mask_size": 16, "refine": True, "pooling": "pool"}),
    ],
)
def test_it_learns_to_find_draw_and_tell_apart_a_few_spheres(shape, steps, rate, options):
    torch.manual_seed(0)
    dims = len(shape)
    near, far = [8.0] * dims, [shape[0] - 8.0, *(side - 10.0 for side in shape[1:])]
    made = [spheres(shape, [(near, 4.5, 0), (far, 6.5, 1)], seed=1), spheres(shape, [], seed=3)]
    network = networks.build("nodule-rcnn", 1, 3, spatial_dims=dims, anchor_sizes=(9.0, 11.0, 13.0), **options)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate)
    image, targets = torch.stack([one for one, _ in made]), [truth for _, truth in made]
    layout = torch.channels_last_3d if dims == 3 else torch.channels_last
    network, image = network.to(memory_format=layout), image.contiguous(memory_format=layout)
    for _ in range(steps):
        loss, _parts = region_loss(network, network(image), targets)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    network.eval()
    with torch.no_grad():
        answers = network.detect(network(image), shape, score=0.05)
    right, wrong = [], [0.05]
    for found, truth in zip(answers, targets, strict=True):
        overlap = iou(to_corners(found.cubes), to_corners(truth.cubes))
        best = overlap.argmax(dim=0).tolist() if len(found.cubes) else []
        for lesion, row in enumerate(best):
            assert overlap[row, lesion] > 0.5
            assert found.classes[row] == truth.classes[lesion]
            drawn, real = pasted(network, found, row, shape), truth.id_map == truth.ids[lesion]
            assert 2 * (drawn & real).sum() / (drawn.sum() + real.sum()) > 0.8
        right += [float(found.scores[row]) for row in best]
        wrong += [float(score) for row, score in enumerate(found.scores) if row not in best]
    assert len(right) == 2
    assert min(right) > max(wrong)  # one threshold finds both lesions and nothing else


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("options", [{}, {"refine": True}, {"semantic": False}])
def test_the_parts_sum_to_the_loss_and_every_weight_gets_a_gradient(dims, options):
    network = build(dims, 2, **options)
    image, truth = spheres((32,) * dims, [([14.0] * dims, 5.0, 0), ([22.0] * dims, 4.0, 1)])
    loss, parts = region_loss(network, network(image[None]), [truth])
    assert set(parts) == {"class", "box", "mask"} | ({"semantic"} if options.get("semantic", True) else set()) | (
        {"refine"} if "refine" in options else set()
    )
    torch.testing.assert_close(loss.detach(), sum(parts.values()))
    loss.backward()
    # What feeds a last layer of zeros moves from the second step on.
    late = ("mask_head.tower",)
    assert [n for n, p in network.named_parameters() if p.grad is None and not n.startswith(late)] == []
    assert all(torch.isfinite(grad).all() for grad in gradients(network))
    assert network.mask_head.last.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("options", [{}, {"refine": True}])
def test_a_sample_of_weight_0_gives_no_gradient(options):
    network = build(**options).eval()
    bright, truth = spheres((32, 32), [([14.0, 14.0], 5.0, 0)])
    other, wrong = spheres((32, 32), [([20.0, 9.0], 4.0, 0)], seed=4)
    loss, _ = region_loss(network, network(bright[None]), [truth], torch.zeros(1))
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(not grad.any() for grad in gradients(network))
    totals = []
    for weight in (0.0, 0.5):
        torch.manual_seed(0)
        images = torch.stack((bright, other))
        totals.append(region_loss(network, network(images), [truth, wrong], torch.tensor([1.0, weight]))[1])
    torch.manual_seed(0)
    alone = region_loss(network, network(bright[None]), [truth])[1]
    assert all(torch.isclose(totals[0][name], alone[name] / 2, rtol=1e-3, atol=1e-5) for name in ("class", "box"))
    assert all(totals[1][name] > totals[0][name] for name in totals[1])


def test_weights_multiply_each_sample_s_loss():
    network = build(semantic=False).eval()
    image, truth = spheres((32, 32), [([14.0, 14.0], 5.0, 0)])
    once, thrice = [], []
    for weight, kept in ((1.0, once), (3.0, thrice)):
        torch.manual_seed(0)
        kept.append(region_loss(network, network(image[None]), [truth], torch.tensor([weight]))[0].detach())
    torch.testing.assert_close(thrice[0], 3 * once[0])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("options", [{}, {"refine": True}])
def test_an_empty_patch_teaches_that_nothing_is_there(dims, options):
    network = build(dims, 2, **options)
    image, truth = spheres((32,) * dims, [])
    loss, parts = region_loss(network, network(image[None]), [truth])
    loss.backward()
    assert parts["class"] > 0
    assert parts["box"] == parts["mask"] == 0
    assert network.head.score.bias.grad.min() >= 0
    assert network.head.score.bias.grad.sum() > 0


def test_only_what_is_known_is_learnt_from():
    """A rejected finding in a scan that nobody has labelled: background there, and nothing said of the rest."""
    network = build().eval()
    image, nothing = spheres((32, 48), [])
    known = torch.tensor([8.0, 20.0, 16.0, 28.0])
    output = network(image[None])
    for part in (output.logits, output.semantic):
        part.retain_grad()
    truth = Targets(nothing.cubes, nothing.classes, nothing.ids, nothing.id_map, known)
    region_loss(network, output, [truth])[0].backward()
    taught = network.anchors((32, 48))[output.logits.grad[0].abs().sum(1) > 0]
    assert len(taught)
    assert torch.all((taught[:, 0] >= 8) & (taught[:, 0] < 16) & (taught[:, 1] >= 20) & (taught[:, 1] < 28))
    voxels = output.semantic.grad[0].abs().sum(0) > 0
    assert voxels[8:16, 20:28].all()
    assert voxels.sum() == 64


@pytest.mark.parametrize("options", [{}, {"refine": True}])
def test_a_part_of_a_lesion_that_nobody_could_tell_teaches_nothing(options):
    network = build(**options).eval()
    image, truth = spheres((32, 48), [([16.0, 16.0], 5.0, 0)])
    truth.id_map[8:16, 40:48] = -1
    output = network(image[None])
    for part in (output.logits, output.semantic):
        part.retain_grad()
    region_loss(network, output, [truth])[0].backward()
    taught = network.anchors((32, 48))[output.logits.grad[0].abs().sum(1) > 0]
    assert len(taught) > 16
    assert not torch.any((taught[:, 0] >= 8) & (taught[:, 0] < 16) & (taught[:, 1] >= 40))
    voxels = output.semantic.grad[0].abs().sum(0) > 0
    assert torch.equal(voxels, truth.id_map >= 0)
    cube = torch.tensor([[14.0, 38.0, 16.0]])
    _, counts = mask_targets(truth, Regions(cube, torch.tensor([0]), torch.zeros(1)), 16, 1.0)
    assert torch.equal(counts[0] == 0, truth.id_map[6:22, 30:46] < 0)


def test_the_losses_are_float32_and_finite_under_autocast():
    network = build(3, 2, refine=True)
    image, truth = spheres((32, 32, 32), [([14.0] * 3, 5.0, 0)])
    with torch.autocast("cpu", torch.bfloat16):
        loss, parts = region_loss(network, network(image[None]), [truth])
    assert loss.dtype == torch.float32
    assert all(part.dtype == torch.float32 for part in parts.values())
    loss.backward()
    assert all(torch.isfinite(grad).all() for grad in gradients(network))


def test_the_same_seed_gives_the_same_loss():
    network = build(refine=True)
    image, truth = spheres((32, 32), [([14.0, 14.0], 5.0, 0)])
    values = []
    for seed in (7, 8, 7):
        torch.manual_seed(seed)
        values.append(float(region_loss(network, network(image[None]), [truth])[0].detach()))
    assert values[0] == values[2] != values[1]


def test_as_many_targets_as_samples():
    network = build()
    image, truth = spheres((32, 32), [])
    with pytest.raises(ValueError, match="2 targets for 1 samples"):
        region_loss(network, network(image[None]), [truth, truth])


def test_classification_is_the_sigmoid_cross_entropy_of_the_chosen_rows():
    logits = torch.tensor([[0.0, 2.0], [-1.0, 0.5], [9.0, 9.0], [0.0, 0.0]])
    value = classification(logits, torch.tensor([1, 0, 0, 0]), torch.tensor([0]), torch.tensor([1]))
    p = logits.sigmoid()
    expected = -((1 - p[0, 0]).log() + p[0, 1].log() + (1 - p[1, 0]).log() + (1 - p[1, 1]).log()) / 2
    torch.testing.assert_close(value, expected)


def test_box_regression_is_0_at_the_code_and_straight_far_from_it():
    anchors, cubes = torch.tensor([[8.0, 8.0, 8.0]]), torch.tensor([[10.0, 7.0, 16.0]])
    code = encode(cubes, anchors)
    assert box_regression(code, anchors, cubes) == 0
    near, far = box_regression(code + 1, anchors, cubes), box_regression(code + 2, anchors, cubes)
    torch.testing.assert_close(far - near, torch.tensor(3.0))


def test_mask_loss_is_equation_1_plus_1_and_cross_entropy():
    logits = torch.tensor([[[0.0, 2.0], [-2.0, 1.0]]])
    wanted = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    p = logits.sigmoid()
    dice = -2 * (p * wanted).sum() / (p.sum() + wanted.sum()) + 1
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted)
    torch.testing.assert_close(mask_loss(logits, wanted, torch.ones_like(logits)), dice + entropy)
    assert mask_loss(wanted * 80 - 40, wanted, torch.ones_like(logits)) < 1e-6


def test_mask_loss_leaves_out_what_is_not_known():
    logits, wanted = torch.randn(2, 1, 4, 4), torch.ones(1, 4, 4)
    counts = torch.ones(1, 4, 4)
    counts[:, 2:] = 0
    logits[1, :, :2] = logits[0, :, :2]
    torch.testing.assert_close(mask_loss(logits[0], wanted, counts), mask_loss(logits[1], wanted, counts))


def test_mask_targets_are_of_one_lesion_and_known_within_the_patch():
    _, truth = spheres((32, 32), [([12.0, 12.0], 5.0, 0), ([12.0, 20.0], 3.0, 0)])
    cubes = torch.tensor([[12.0, 12.0, 16.0], [12.0, 20.0, 16.0], [0.0, 12.0, 16.0]])
    wanted, counts = mask_targets(truth, Regions(cubes, torch.tensor([0, 1, 0]), torch.zeros(3)), 16, 1.0)
    assert torch.equal(wanted[0], (truth.id_map == 10)[4:20, 4:20].float())
    assert torch.equal(wanted[1], (truth.id_map == 20)[4:20, 12:28].float())
    again, _ = mask_targets(truth, Regions(cubes[1:2], torch.tensor([1]), torch.zeros(1)), 16, 1.0)
    assert torch.equal(again[0], wanted[1])  # the lesion's own, also where the first one of the patch is not asked for
    assert counts[0].all()
    assert not counts[2, :8].any()
    assert counts[2, 8:].all()


def test_only_lesions_that_are_asked_for_take_memory(monkeypatch):
    _, truth = spheres((32, 32), [([4.0 + 3 * n, 12.0], 1.5, 0) for n in range(8)])
    held = []
    monkeypatch.setattr(loss, "roi_align", lambda maps, *given: held.append(len(maps)) or roi_align(maps, *given))
    mask_targets(truth, Regions(truth.cubes[[5, 2, 5]], torch.tensor([5, 2, 5]), torch.zeros(3)), 8, 2.0)
    assert held == [2]


def test_masks_are_learnt_on_moved_truths_and_on_what_the_network_found():
    truths = torch.tensor([[12.0, 12.0, 8.0], [30.0, 30.0, 12.0]])
    found = Regions(
        torch.tensor([[13.0, 12.0, 8.0], [12.5, 12.0, 8.0], [60.0, 60.0, 5.0]]),
        torch.tensor([0, 0, 1]),
        torch.tensor([0.1, 0.9, 0.5]),
    )
    regions = mask_regions(truths, found)
    assert regions.truths.tolist() == [0, 1, 0]
    assert torch.equal(regions.cubes[2], found.cubes[1])  # the better of two; what lies far from its lesion is left out
    assert iou(to_corners(regions.cubes[:2]), to_corners(truths)).diagonal().min() > 0.2
    assert not torch.equal(regions.cubes[:2], truths)
    assert (
        len(
            mask_regions(
                truths.repeat(10, 1), Regions(truths[:0], torch.zeros(0, dtype=torch.long), truths[:0, 0])
            ).cubes
        )
        == 8
    )


def test_jitter_moves_by_about_a_tenth_of_the_diameter():
    torch.manual_seed(0)
    cubes = torch.tensor([[50.0, 50.0, 20.0]]).expand(4000, -1)
    moved = jittered(cubes)
    assert moved[:, :2].std() == pytest.approx(2.0, rel=0.05)
    assert moved[:, 2].log().mean() == pytest.approx(math.log(20), abs=0.01)
    assert moved[:, 2].log().std() == pytest.approx(0.15, rel=0.05)


def test_the_second_stage_learns_from_regions_with_and_without_a_lesion():
    network = build(anchor_sizes=(6.0, 10.0))
    anchors, truth = network.anchors((64, 64)), torch.tensor([[22.0, 22.0, 10.0]])
    torch.manual_seed(0)
    logits = torch.randn(len(anchors))
    regions = refine_regions(logits, torch.zeros(len(anchors), 3), anchors, truth)
    overlap = iou(to_corners(regions.cubes), to_corners(truth))[:, 0]
    assert torch.all(overlap[regions.truths == 0] >= 0.4)
    assert torch.all(overlap[regions.truths == -1] < 0.25)
    assert 0 < int((regions.truths == 0).sum()) <= 8
    assert 0 < int((regions.truths == -1).sum()) <= 16
    nothing = refine_regions(logits, torch.zeros(len(anchors), 3), anchors, truth[:0])
    assert torch.all(nothing.truths == -1)
    inside = refine_regions(
        logits, torch.zeros(len(anchors), 3), anchors, truth[:0], torch.tensor([0.0, 0.0, 20.0, 64.0])
    )
    assert torch.all(inside.cubes[:, 0] < 20)


def test_a_map_is_cut_as_its_features_are():
    """The mask of a region and the features it is drawn from lie on the same points."""
    torch.manual_seed(0)
    _, truth = spheres((24, 24), [([11.0, 13.0], 5.0, 0)])
    cube = torch.tensor([[11.3, 12.6, 9.7]])
    wanted, _ = mask_targets(truth, Regions(cube, torch.tensor([0]), torch.zeros(1)), 12, 1.5)
    same = roi_align(
        (truth.id_map > 0).float()[None, None], to_corners(cube * torch.tensor([1, 1, 1.5])), torch.tensor([0]), 12
    )
    assert torch.equal(wanted[0], same[0, 0])
    assert ((wanted > 0) & (wanted < 1)).any()  # the border of the lesion lies between the centres of cells
