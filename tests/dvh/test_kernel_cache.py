"""Kernels loaded without numba's compiler: the same numbers, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from rtpipeline.dvh import kernel_cache
from rtpipeline.dvh.warm import warm

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import json, sys
from rtpipeline.dvh.kernel_cache import load_without_compiler
{before}
import numpy as np
from rtpipeline.dvh.engine import DoseVolume, compute_dvh
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.solid import PrismSolid
angle = np.linspace(0.0, 6.283, 40)
rings = [np.c_[9.0 * np.cos(angle), 7.0 * np.sin(angle), np.full(40, z)] for z in (0.0, 2.0, 4.0)]
grid = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], [-15.0, -15.0, -6.0], [2.5, 2.5], np.arange(8) * 2.5, 13, 13)
dose = DoseVolume(grid, np.arange(8 * 13 * 13, dtype=float).reshape(8, 13, 13) ** 0.5)
dvh = compute_dvh(PrismSolid.from_contours(rings, single_plane_thickness_mm=None), dose)
numbers = [dvh.volume_cc, dvh.dmin_gy, dvh.dmax_gy, dvh.dmean_gy, *(dvh.dose_at_volume_pct(p) for p in (99, 50, 2))]
json.dump({{"numbers": numbers, "compiler": "numba.np.npyimpl" in sys.modules}}, sys.stdout)
"""


def run(before: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(numba.__version__ not in kernel_cache.TESTED, reason="this numba goes its own way")
def test_the_numbers_are_those_of_the_usual_way_and_the_compiler_stays_away():
    warm()
    usual, light = run(""), run("load_without_compiler()")
    assert light["numbers"] == usual["numbers"]
    assert usual["compiler"] and not light["compiler"]


def test_a_version_that_was_not_tried_is_left_alone(monkeypatch):
    own = kernel_cache.caching.Cache.load_overload
    monkeypatch.setattr(kernel_cache.numba, "__version__", "0.0.0")
    kernel_cache.load_without_compiler()
    assert kernel_cache.caching.Cache.load_overload is own
