"""A second route to what contours enclose: the even-odd rule tried at the points of a raster."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def even_odd(polygons: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(len(x), len(y)) mask of the raster points with an odd number of edges to their right."""
    inside = np.zeros((len(x), len(y)), bool)
    for polygon in polygons:
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            rows = (y0 > y) != (y1 > y)
            if rows.any():
                x_cut = x0 + (y[rows] - y0) * (x1 - x0) / (y1 - y0)
                inside[:, rows] ^= x[:, None] < x_cut
    return inside
