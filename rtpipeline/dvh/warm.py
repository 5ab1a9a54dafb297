"""Compiles every kernel of the DVH once, on a tiny case, so that no course waits for the compiler.

numba keys its cache by the file of the outermost kernel: whoever edits a kernel that another file calls removes the
`__pycache__` folders of `geometry` and `dvh` (or NUMBA_CACHE_DIR) to see the change.
"""

from __future__ import annotations

from typing import get_args

import numpy as np

from rtpipeline.dicom.decimal_text import plain_decimals
from rtpipeline.dvh.dose_volume import DoseVolume, Interpolation
from rtpipeline.dvh.engine import compute_dvh
from rtpipeline.dvh.isodose import isodose_volume_cc
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.polygon import contour_quality
from rtpipeline.geometry.rasterize import solid_coverage, solid_mask
from rtpipeline.geometry.shape import shape_solid
from rtpipeline.geometry.solid import PrismSolid
from rtpipeline.kernels.packing import pack_kernels


def warm() -> None:
    """Compile the kernels of `geometry`, of `dvh`, and of the reading of contours.

    numba keeps them in its cache (NUMBA_CACHE_DIR) where it can write; from there they are packed for `rtpipeline dvh`.

    No thread is started, so the process may be forked afterwards.
    """
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    contours = [np.c_[square + 0.1 * z, np.full(4, z)] for z in (0.0, 1.0)]
    solid = PrismSolid.from_contours(contours, single_plane_thickness_mm=None)
    for tilt in (0.0, 0.1):
        c, s = np.cos(tilt), np.sin(tilt)
        grid = Grid.from_dicom_like([c, s, 0.0, -s, c, 0.0], [-2.0, -2.0, -2.0], [2.0, 2.0], np.arange(5) * 2.0, 6, 6)
        ramp = np.arange(5 * 6 * 6, dtype=float).reshape(grid.shape_zyx)
        for known in (None, ramp > 0.0):
            dose = DoseVolume(grid, ramp, known)
            for interpolation in get_args(Interpolation):
                compute_dvh(solid, dose, interpolation=interpolation)
            isodose_volume_cc(dose, 1000.0)
    bump = np.zeros(grid.shape_zyx)
    bump[2, 3, 3] = 1.0
    isodose_volume_cc(DoseVolume(grid, bump), 0.5)
    contour_quality(square)
    plain_decimals(b"1")
    solid.contains(np.zeros((1, 3)))
    shape_solid(_of_all_kinds())
    solid_mask(solid, grid)
    solid_coverage(solid, grid)
    pack_kernels()


def _of_all_kinds() -> PrismSolid:
    """A horseshoe that tapers off, closes and parts in two: every way in which contours are interpolated."""
    square = np.array([[0.0, 0.0], [9.0, 0.0], [9.0, 9.0], [0.0, 9.0]])
    horseshoe = np.array([[0, 0], [9, 0], [9, 9], [6, 9], [6, 3], [3, 3], [3, 9], [0, 9.0]])
    outlines = [(0.0, 0.6 * horseshoe), (1.0, 0.9 * horseshoe), (2.0, horseshoe), (3.0, square)]
    outlines += [(4.0, 0.3 * square), (4.0, 0.3 * square + 6.0), (5.0, 0.3 * square)]
    return PrismSolid.from_contours(
        [np.c_[outline, np.full(len(outline), z)] for z, outline in outlines], single_plane_thickness_mm=None
    )
