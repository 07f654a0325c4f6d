"""A network that has learnt nothing yet draws no chequers."""

from __future__ import annotations

import torch

from napari_dasl import networks


def test_neighbours_within_a_stride_begin_equal():
    network = networks.build("unet", 1, 2, spatial_dims=3, channels=(16, 32), strides=(2, 2)).eval()
    with torch.no_grad():
        logits = network(torch.randn(1, 1, 16, 16, 16))
    blocks = logits.reshape(1, 2, 8, 2, 8, 2, 8, 2)
    torch.testing.assert_close(blocks, blocks[:, :, :, :1, :, :1, :, :1].expand_as(blocks))
    assert logits.std() > 0
