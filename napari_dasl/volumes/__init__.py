"""A scan file or a DICOM series, and the (z, y, x) array with its geometry."""
