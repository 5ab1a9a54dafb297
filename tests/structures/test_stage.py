"""The structures stage beside the DVH that reads its contours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtpipeline.config import Config, DvhConfig
from rtpipeline.demo.small import SmallPatient, small_patient
from rtpipeline.geometry.outlines import read_contours
from rtpipeline.geometry.shape import shape_solid
from rtpipeline.geometry.solid import EndCap, PrismSolid
from tests.synthetic.pipeline import Chain, run_chain

SLICE_MM = 3.0
POSITIONS = 1e-9
"""Relative; volumes are areas times a thickness of written positions."""


def gtv_of_one_contour() -> tuple[SmallPatient, float]:
    """A patient whose GTV keeps its largest contour, and the area of that one in mm2 (shoelace formula)."""
    patient = small_patient()
    assert patient.rtstruct is not None
    number = patient.roi("GTV").number
    (item,) = [c for c in patient.rtstruct.ROIContourSequence if c.ReferencedROINumber == number]
    kept = max(item.ContourSequence, key=lambda c: len(c.ContourData))
    item.ContourSequence = [kept]
    x, y = np.array(kept.ContourData, float).reshape(-1, 3)[:, :2].T
    return patient, abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def gtv(chain: Chain, stage: str, table: str) -> dict[str, object]:
    (row,) = [r for r in chain.rows(stage, table) if r["structure_name"] == "GTV"]
    return row


def test_a_single_contour_has_one_volume_in_every_table(tmp_path: Path) -> None:
    """The DVH gets no image: the thickness that the image gave must come with the contours."""
    patient, area_mm2 = gtv_of_one_contour()
    chain = run_chain(patient.save(tmp_path / "export"), tmp_path / "work")
    expected_cc = area_mm2 * SLICE_MM / 1000
    assert gtv(chain, "structures", "structures")["volume_cc"] == pytest.approx(expected_cc, rel=POSITIONS)
    row = gtv(chain, "dvh", "dvh_metrics")
    assert row["dose_status"] == "ok"
    assert row["volume_cc"] == pytest.approx(expected_cc, rel=POSITIONS)


def test_a_single_contour_in_another_frame_takes_no_thickness_from_the_image(tmp_path: Path) -> None:
    patient, _ = gtv_of_one_contour()
    assert patient.rtstruct is not None and patient.rtdose is not None
    other = patient.study.uids("another frame")
    for item in patient.rtstruct.StructureSetROISequence:
        item.ReferencedFrameOfReferenceUID = other
    patient.rtdose.FrameOfReferenceUID = other
    chain = run_chain(patient.save(tmp_path / "export"), tmp_path / "work")
    assert gtv(chain, "structures", "structures")["status"] == "no_volume"
    row = gtv(chain, "dvh", "dvh_metrics")
    assert row["dose_status"] == "no_volume"
    assert np.isnan(row["volume_cc"])  # type: ignore[call-overload]


@pytest.mark.parametrize("end_cap", ["prism", "shape"])
def test_volume_and_dose_are_of_the_solid_that_is_configured(tmp_path: Path, end_cap: EndCap) -> None:
    """The demo's structures are drawn on every slice; the table says which solid its volume is that of."""
    config = Config(dvh=DvhConfig(end_cap=end_cap))
    chain = run_chain(small_patient().save(tmp_path / "export"), tmp_path / "work", config)
    outlines = read_contours(chain.folder(chain.course.course_id, "structures") / "contours.parquet")
    dose_rows = {row["structure_id"]: row for row in chain.rows("dvh", "dvh_metrics")}
    rows = [row for row in chain.rows("structures", "structures") if row["status"] == "ok"]
    assert rows
    for row in rows:
        literal = PrismSolid.from_contours(
            outlines[row["structure_set_id"], row["structure_id"]].contours, single_plane_thickness_mm=SLICE_MM
        )
        solid = shape_solid(literal) if end_cap == "shape" else literal
        assert (row["end_cap"], dose_rows[row["structure_id"]]["end_cap"]) == (end_cap, end_cap)
        assert row["volume_cc"] == pytest.approx(solid.volume_cc, rel=POSITIONS)
        assert dose_rows[row["structure_id"]]["volume_cc"] == pytest.approx(solid.volume_cc, rel=POSITIONS)
        # what is counted is what was drawn, not the layers in between
        assert row["planes"] == len(literal.plane_offsets_mm)
