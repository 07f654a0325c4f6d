"""The parts of the region networks: boxes, anchors, matching, sampling, regions of interest, network and loss.

Boxes are in voxels of the network's isotropic grid, where voxel i spans [i, i + 1) and is centred on i + 0.5, axes in
the order (z, y, x), or (y, x) on slices. A *cube* is (centre …, d): D + 1 numbers. *Corners* are (lowest …, highest …):
2 D numbers, half-open. Everything here takes and gives torch tensors, on any device.
"""
