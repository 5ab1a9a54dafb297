"""What a row says of interpolation that leaves the grid's own doses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtpipeline.config import DvhConfig
from rtpipeline.contracts.tables import STRUCTURE_KEYS
from rtpipeline.dvh.course_doses import CourseBiology, CourseDose
from rtpipeline.dvh.declared import Declarations
from rtpipeline.dvh.dose_links import DoseLink
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.metrics import OVERSHOOT
from rtpipeline.dvh.prescription import UNKNOWN
from rtpipeline.dvh.rows import RowMaker
from tests.dvh.test_biology import box, grid, linear

FACTS: dict[str, Any] = {
    "dose_id": "plan-01", "plan_ids": ["plan-01"], "dose_basis": "plan", "dose_status": "ok", "dose_type": "PHYSICAL",
    "parts": {}, "part_routes": {},
}  # fmt: skip
STRUCTURE: dict[str, Any] = {c.name: "x" for c in STRUCTURE_KEYS} | {
    "structure_source": "manual", "structure_set_id": "rs-01", "roi_number": 7, "structure_name": "PTV",
    "roi_type": "PTV", "volume_cc": 27.0,
}  # fmt: skip


def hot_block(width: int) -> np.ndarray:
    """30 Gy, and a block of so many voxels along each side with 60 Gy in the middle."""
    values = np.full(grid(4.0).shape_zyx, 30.0)
    middle = slice(values.shape[0] // 2, values.shape[0] // 2 + width)
    values[middle, middle, middle] = 60.0
    return values


def findings(values: np.ndarray, interpolation: str) -> list[Any]:
    settings = DvhConfig.model_construct(**{**DvhConfig().model_dump(), "dose_interpolation": interpolation})
    dose = CourseDose(FACTS, DoseVolume(grid(4.0), values))
    biology = CourseBiology([dose], {}, settings.dose_interpolation)
    maker = RowMaker(settings, "k", Declarations({}, {}), biology)
    made = maker.make(STRUCTURE, dose, DoseLink("plan_reference"), box(), UNKNOWN)
    found = maker.findings_of_doses()
    assert made.row["dose_overshoot"] is bool(found)
    return found


def test_a_block_of_hot_voxels_overshoots_between_them_and_is_told() -> None:
    (found,) = findings(hot_block(2), "cubic")
    assert (found.code, found.severity, found.object) == ("DOSE_OVERSHOOT", "W", "plan-01")
    assert found.measured.endswith("Gy in rs-01 ROI 7 'PTV'; maximum of the grid 60.00 Gy")
    assert float(found.measured.split()[0]) > OVERSHOOT * 60.0


@pytest.mark.parametrize(
    ("values", "interpolation"),
    [
        (hot_block(2), "linear"),
        (hot_block(1), "cubic"),  # the spline's peak is the voxel itself
        (linear(grid(4.0), 35.0, 1.0), "cubic"),
    ],
)
def test_without_overshoot_nothing_is_told(values: np.ndarray, interpolation: str) -> None:
    assert findings(values, interpolation) == []
