"""After `warm` nothing is left to compile, and no thread has been started."""

from __future__ import annotations

import threading

import numpy as np
from numba.core.dispatcher import Dispatcher

import rtpipeline.dicom.decimal_text
import rtpipeline.dvh.curve
import rtpipeline.dvh.extremes
import rtpipeline.dvh.interpolation
import rtpipeline.dvh.isodose
import rtpipeline.dvh.planes
import rtpipeline.dvh.sampling
import rtpipeline.dvh.sampling_parallel
import rtpipeline.dvh.spline
import rtpipeline.geometry.area_guide
import rtpipeline.geometry.coverage
import rtpipeline.geometry.distance_field
import rtpipeline.geometry.even_odd
import rtpipeline.geometry.layers
import rtpipeline.geometry.loop_links
import rtpipeline.geometry.loops
import rtpipeline.geometry.morph
import rtpipeline.geometry.polygon
import rtpipeline.geometry.rasterize
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.engine import compute_dvh
from rtpipeline.dvh.warm import warm
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.rasterize import solid_coverage, solid_mask
from rtpipeline.geometry.shape import shape_solid
from rtpipeline.geometry.solid import PrismSolid

MODULES = (
    rtpipeline.dicom.decimal_text,
    rtpipeline.dvh.curve,
    rtpipeline.dvh.extremes,
    rtpipeline.dvh.interpolation,
    rtpipeline.dvh.isodose,
    rtpipeline.dvh.planes,
    rtpipeline.dvh.sampling,
    rtpipeline.dvh.sampling_parallel,
    rtpipeline.dvh.spline,
    rtpipeline.geometry.area_guide,
    rtpipeline.geometry.coverage,
    rtpipeline.geometry.distance_field,
    rtpipeline.geometry.even_odd,
    rtpipeline.geometry.layers,
    rtpipeline.geometry.loop_links,
    rtpipeline.geometry.loops,
    rtpipeline.geometry.morph,
    rtpipeline.geometry.polygon,
    rtpipeline.geometry.rasterize,
)


def signatures() -> dict[str, int]:
    return {
        f"{module.__name__}.{name}": len(kernel.signatures)
        for module in MODULES
        for name, kernel in vars(module).items()
        if isinstance(kernel, Dispatcher)
    }


def test_real_work_after_warm_compiles_nothing_new() -> None:
    threads = threading.active_count()
    warm()
    assert threading.active_count() == threads
    before = signatures()
    # kernels that only other kernels call have no signature of their own when the callers come from the cache
    assert sum(count > 0 for count in before.values()) >= 10
    angle = np.linspace(0.0, 6.0, 40)
    contours = [np.c_[9 * np.cos(angle), 9 * np.sin(angle), np.full(40, z)] for z in (0, 2, 4)]
    solid = PrismSolid.from_contours(contours, single_plane_thickness_mm=None)
    grid = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], [-12, -12, 8], [2, 2], np.arange(6) * -3.0, 13, 13)
    for dtype in (np.float32, np.uint16, np.float64):
        dose = DoseVolume(grid, np.ones(grid.shape_zyx, dtype))
        compute_dvh(solid, dose, interpolation="cubic")
        compute_dvh(solid, dose, interpolation="linear")
    shape_solid(solid)
    spiral = np.linspace(0.5, 2.0 * np.pi - 0.5, 30)
    arcs = np.r_[9.0 * np.c_[np.cos(spiral), np.sin(spiral)], 5.0 * np.c_[np.cos(spiral), np.sin(spiral)][::-1]]
    tapered = [np.c_[(1.0 + 0.2 * z) * arcs, np.full(60, z)] for z in (0.0, 2.0, 4.0)]
    parted = [np.c_[0.3 * arcs + [9.0 * side, 0.0], np.full(60, 6.0)] for side in (-1.0, 1.0)]
    compute_dvh(shape_solid(PrismSolid.from_contours(tapered + parted, single_plane_thickness_mm=None)), dose)
    solid_mask(solid, grid)
    solid_coverage(solid, grid)
    assert signatures() == before
