"""Whole scans through a detector: windows, clustering of what they say, linking of slices, masks, thresholds.

Boxes here are in voxels of the network's grid, where voxel i spans [i, i + 1); :class:`.candidates.Grid` knows the way
to the scan's own voxels and to millimetres. Only :mod:`.windows` needs torch.
"""
