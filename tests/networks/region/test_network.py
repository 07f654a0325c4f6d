"""The region network: what it answers, and how answers become lesions with masks."""

from __future__ import annotations

import math

import pytest
import torch

from napari_dasl import networks
from napari_dasl.errors import ProjectError
from napari_dasl.networks.region.boxes import encode, iou, to_corners
from napari_dasl.networks.region.network import RegionOutput

SMALL = {"growth": 4, "blocks": (1, 1, 1), "stem": 8, "width": 8, "features": 4, "mask_size": 8}
SHAPES = [(32, 48), (16, 32, 32)]


def build(dims=3, classes=1, **options):
    torch.manual_seed(5)
    return networks.build("nodule-rcnn", 1, classes + 1, spatial_dims=dims, **{**SMALL, **options}).eval()


def answer(network, shape, lesions, images=1):
    """An output that says these *lesions* (image, cube, class, logit), each at the anchor nearest to it."""
    anchors = network.anchors(shape)
    logits = torch.full((images, len(anchors), network.classes), -9.0)
    deltas = torch.zeros(images, len(anchors), anchors.shape[1])
    fine = torch.zeros(images, network.backbone.features, *shape)
    for image, cube, kind, logit in lesions:
        cube = torch.tensor(cube)[None]
        row = iou(to_corners(anchors), to_corners(cube))[:, 0].argmax()
        logits[image, row, kind] = logit
        deltas[image, row] = encode(cube, anchors[row : row + 1])[0]
    levels = [torch.zeros(images, network.backbone.width, *(side // s for side in shape)) for s in network.strides]
    return RegionOutput(logits, deltas, fine, None, levels)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [1, 2])
def test_every_anchor_gets_class_logits_and_a_box(shape, classes):
    network = build(len(shape), classes, anchor_sizes=(4, 8, 16))
    output, anchors = network(torch.randn(2, 1, *shape)), network.anchors(shape)
    cells = math.prod(side // 4 for side in shape)
    assert anchors.shape == (3 * cells, len(shape) + 1)
    assert output.logits.shape == (2, 3 * cells, classes)
    assert output.deltas.shape == (2, 3 * cells, len(shape) + 1)
    assert output.fine.shape[2:] == shape
    assert output.semantic.shape == (2, classes + 1, *shape)


def test_the_numbers_of_an_anchor_come_from_its_own_cell_and_size():
    network = build(2, classes=2, anchor_sizes=(4, 8, 16))
    level = torch.zeros(1, 8, 3, 5)
    with torch.no_grad():
        network.head.tower = torch.nn.Identity()
        level[0, 0] = torch.arange(15.0).view(3, 5)
        network.head.score.weight.zero_()[:, 0] = 1
        network.head.score.bias.copy_(torch.arange(6.0) * 100)
        logits, _ = network.head(level)
    cell, size, kind = 2 * 5 + 3, 1, 1
    assert logits[0, cell * 3 + size, kind] == cell + 100 * (size * 2 + kind)


def test_before_it_has_learnt_anything_lesions_are_as_rare_as_one_in_a_hundred():
    said = build(classes=2)(torch.randn(1, 1, 16, 32, 32))
    torch.testing.assert_close(said.logits.sigmoid().mean(), torch.tensor(0.01), atol=2e-3, rtol=0)
    assert said.semantic.softmax(1)[:, 1:].median() < 0.03


@pytest.mark.parametrize("shape", SHAPES)
def test_the_boxes_that_the_numbers_tell_are_found_per_image_by_falling_score(shape):
    network, dims = build(len(shape), 2), len(shape)
    first, second = [9.3] * dims + [7.0], [20.0] * dims + [5.5]
    output = answer(network, shape, [(0, second, 1, 1.0), (0, first, 0, 2.0), (2, second, 0, 3.0)], images=3)
    found = network.detect(output, shape, score=0.5)
    assert [len(one.scores) for one in found] == [2, 0, 1]
    torch.testing.assert_close(found[0].cubes, torch.tensor([first, second]), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[0].scores, torch.tensor([2.0, 1.0]).sigmoid())
    assert found[0].classes.tolist() == [0, 1]
    assert found[0].masks.shape == (2, *(8,) * dims)
    assert found[1].masks.shape == (0, *(8,) * dims)


def test_score_overlap_and_limit_decide_what_is_kept():
    network, shape = build(2, 2), (32, 48)
    near = [10.0, 10.0, 8.0]
    beside = [10.0, 14.0, 8.0]  # they overlap by a third
    output = answer(network, shape, [(0, near, 0, 2.0), (0, beside, 0, 1.0), (0, [24.0, 40.0, 8.0], 0, 0.5)])

    def count(**options):
        return len(network.detect(output, shape, **{"score": 0.1, "masks": False, **options})[0].scores)

    assert count(nms=0.5) == 3
    assert count(nms=0.2) == 2
    assert count(nms=0.5, score=0.7) == 2
    assert count(nms=0.5, limit=1) == 1


def test_lesions_of_two_classes_at_one_place_are_both_kept():
    network, shape = build(2, 2), (32, 48)
    output = answer(network, shape, [(0, [10.0, 10.0, 8.0], 0, 2.0), (0, [10.0, 10.0, 8.0], 1, 1.0)])
    assert network.detect(output, shape, score=0.5)[0].classes.tolist() == [0, 1]


def test_without_masks_none_are_drawn():
    network, shape = build(2), (32, 48)
    found = network.detect(answer(network, shape, [(0, [10.0, 10.0, 8.0], 0, 2.0)]), shape, masks=False)[0]
    assert len(found.scores) == 1
    assert found.masks.shape == (0, 8, 8)


def test_a_fresh_mask_says_what_the_semantic_head_says_of_its_region():
    network, shape = build(2, 2), (32, 32)
    with torch.no_grad():
        output = network(torch.randn(1, 1, *shape))
        cube = torch.tensor([[16.0, 16.0, 8.0 / network.roi_scale]])  # its region is 8 voxels wide: one voxel a cell
        logits = network.mask_logits(output.fine, cube, torch.tensor([0]), torch.tensor([1]))
    expected = (output.semantic[0, 2] - output.semantic[0, 0])[12:20, 12:20]
    torch.testing.assert_close(logits[0], expected, atol=1e-4, rtol=1e-4)


def test_masks_are_of_the_asked_image_and_class():
    network = build(2, 2)
    with torch.no_grad():
        output = network(torch.randn(2, 1, 32, 32))
        cubes = torch.tensor([[16.0, 14.0, 9.0]]).expand(4, -1)
        images, classes = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        together = network.mask_logits(output.fine, cubes, images, classes)
        for row in range(4):
            alone = network.mask_logits(
                output.fine, cubes[row : row + 1], images[row : row + 1], classes[row : row + 1]
            )
            torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-4)
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(together[0], together[2])


def test_masks_called_after_autocast_compute_in_its_precision():
    network = build(2)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            output = network(torch.randn(1, 1, 32, 32))
        assert output.fine.dtype == torch.bfloat16
        found = network.detect(output, (32, 32), score=0.0, limit=3)[0]
    assert found.masks.dtype == torch.float32
    assert found.masks.shape == (3, 8, 8)


def test_the_second_stage_moves_boxes_and_weighs_their_scores():
    network, shape = build(2, refine=True), (32, 48)
    with torch.no_grad():
        network.refine.score.weight.zero_()
        network.refine.score.bias.fill_(math.log(4))  # 0.8
        network.refine.box.weight.zero_()
        network.refine.box.bias.copy_(torch.tensor([0.5, 0.0, math.log(1.5)]))
    output = answer(network, shape, [(0, [10.0, 10.0, 8.0], 0, 0.0)])
    found = network.detect(output, shape, score=0.3)[0]
    torch.testing.assert_close(found.scores, torch.tensor([(0.5 * 0.8) ** 0.5]))
    torch.testing.assert_close(found.cubes, torch.tensor([[14.0, 10.0, 12.0]]), atol=1e-3, rtol=0)


def test_regions_are_pooled_from_the_level_they_fill():
    network = networks.build("mask-rcnn", 1, 2, layers=(1, 1, 1, 1), planes=8, width=8)
    sides = torch.tensor([0.0, 4.0, 28.0, 55.0, 57.0, 115.0, 300.0, 5000.0])
    assert network.refine.level(sides).tolist() == [0, 0, 0, 0, 1, 2, 3, 3]


def test_without_a_second_stage_there_is_nothing_to_refine():
    network = build(2)
    with pytest.raises(ValueError, match="refine=True"):
        network.refined(answer(network, (32, 48), []), torch.zeros(1, 3), torch.zeros(1, dtype=torch.long))


def test_sides_that_are_no_multiple_of_the_stride_are_refused():
    with pytest.raises(ValueError, match="no whole number of cells"):
        build(2).anchors((30, 48))


def test_weights_survive_a_state_dict_and_predict_the_same():
    one, other, image = build(2, refine=True), build(2, refine=True), torch.randn(1, 1, 32, 32)
    for value in other.parameters():
        value.data.zero_()
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        assert torch.equal(one(image).logits, other(image).logits)
        assert torch.equal(one(image).fine, other(image).fine)


@pytest.mark.parametrize("dims", [2, 3])
def test_pooling_takes_the_highest_of_each_cell_and_needs_no_other_weights(dims):
    aligned, pooled = build(dims, refine=True), build(dims, refine=True, pooling="pool")
    pooled.load_state_dict(aligned.state_dict())
    shape, cubes = (32,) * dims, torch.tensor([[16.3] * dims + [10.7]])
    place = (0, slice(None), *(16,) * dims)
    with torch.no_grad():
        output = aligned(torch.randn(1, 1, *shape))
        output.fine[place] = 9.0
        for network, highest in ((aligned, False), (pooled, True)):
            seen = []
            network.mask_head.tower.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
            network.mask_logits(output.fine, cubes, torch.tensor([0]), torch.tensor([0]))
            assert bool((seen[0][0, 0].amax() == 9.0).item()) == highest
        first, second = (n.refined(output, cubes, torch.tensor([0]))[0] for n in (aligned, pooled))
        assert not torch.equal(first, second)
        assert pooled.detect(output, shape, score=0.0, limit=2)[0].masks.shape == (2, *(8,) * dims)


def test_a_pooling_that_there_is_not_is_refused():
    with pytest.raises(ProjectError, match="align, pool"):
        build(pooling="crop")


@pytest.mark.parametrize("dims", [2, 3])
def test_guided_anchors_score_what_the_semantic_head_sees_around_their_cell(dims):
    plain, guided = (build(dims, 2, anchor_sizes=(4, 8), guided=choice) for choice in (False, True))
    guided.load_state_dict(plain.state_dict())
    image, shape = torch.randn(1, 1, *(32,) * dims), (32,) * dims
    with torch.no_grad():
        before, after = plain(image), guided(image)
    added = (after.logits - before.logits)[0]
    said = (after.semantic[0, 1:] - after.semantic[0, :1]).flatten(1)
    for row in (0, 37, len(added) - 1):
        centre = guided.anchors(shape)[row, :-1]
        grid = torch.stack(torch.meshgrid(*[torch.arange(32) + 0.5] * dims, indexing="ij"), -1).flatten(0, -2)
        near = ((grid - centre).abs() < 4).all(1)
        torch.testing.assert_close(added[row], said[:, near].amax(1), atol=1e-5, rtol=1e-4)
    assert torch.equal(after.deltas, before.deltas)
    fresh = build(dims, guided=True)(image).logits.sigmoid()
    assert fresh.mean() < 0.2


def test_without_a_semantic_head_nothing_guides():
    with pytest.raises(ProjectError, match="guided needs semantic"):
        build(guided=True, semantic=False)
