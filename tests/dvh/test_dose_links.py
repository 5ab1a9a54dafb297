"""Which doses apply to a structure, and that a registration takes the structure to where the dose was calculated."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rtpipeline.dvh.dose_links import DoseLink, dose_link, registrations
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.engine import compute_dvh
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.outlines import Outline
from rtpipeline.geometry.rigid import carried
from tests.geometry.test_rigid import motion

MATRIX = motion((20.0, -35.0, 70.0), (40.0, -25.0, 310.0))

ROUNDED = 1e-9
"""float64 after a motion there and back, in Gy and relative to a volume."""

MANUAL = {"structure_source": "manual", "structure_set_id": "rs-02", "image_id": "ct-02"}
NETWORK = {"structure_source": "totalsegmentator", "structure_set_id": "totalsegmentator-ct-02", "image_id": "ct-02"}


def facts(matrix: Any = None, **more: Any) -> dict[str, Any]:
    entry = {"structure_set_id": "rs-02", "link": "registration", "registrations": ["reg-01"], "matrix": matrix}
    return {"dose_id": "plan-01", "frame_hash": "A", "structure_sets": [entry], **more}


def course(set_frame: str = "B") -> Any:
    return SimpleNamespace(
        images=[SimpleNamespace(image_id="ct-02", frame_hash="B")],
        structure_sets=[SimpleNamespace(structure_set_id="rs-02", image_id="ct-02", frame_hash=set_frame)],
    )


@pytest.mark.parametrize(("structure", "rule"), [(MANUAL, "registration"), (NETWORK, "image_frame")])
def test_the_way_to_a_set_is_that_to_what_was_made_on_its_image(structure, rule):
    link = dose_link(facts(MATRIX.tolist()), structure, course())
    assert link is not None
    assert (link.rule, link.registrations) == (rule, ("reg-01",))
    assert np.array_equal(link.matrix, MATRIX)
    same = dose_link(facts(None), structure, course())
    assert same is not None and same.matrix is None


def test_the_way_to_a_set_of_another_frame_does_not_lead_to_its_image():
    assert dose_link(facts(MATRIX.tolist()), NETWORK, course(set_frame="C")) is None


def test_structures_in_the_frame_of_the_dose_need_no_registration():
    link = dose_link(facts(MATRIX.tolist()) | {"frame_hash": "B"}, NETWORK, course())
    assert link == DoseLink("image_frame")


def test_a_row_names_the_registrations_of_parts_and_structure_once():
    parts = {"plan-02": {"registrations": ["reg-02", "reg-01"], "matrix": None}}
    assert registrations(facts(part_routes=parts), DoseLink("registration", ("reg-01",))) == "reg-01;reg-02"
    assert registrations(facts(), DoseLink("plan_reference")) is None


def test_a_structure_led_to_the_dose_has_the_histogram_that_it_has_where_both_were_made():
    """Three square contours in the dose's frame, turned and shifted away by the registration."""
    corners = np.array([[-10.0, -10.0], [10.0, -10.0], [10.0, 10.0], [-10.0, 10.0]])
    here = [np.c_[corners, np.full(4, z)] for z in (-3.0, 0.0, 3.0)]
    there = Outline(None, [carried(MATRIX, contour) for contour in here])
    led = DoseLink("registration", ("reg-01",), MATRIX).in_dose_frame(there)
    grid = Grid.from_dicom_like((1, 0, 0, 0, 1, 0), (-20.0, -20.0, -20.0), (4.0, 4.0), np.arange(11) * 4.0, 11, 11)
    index = np.stack(np.meshgrid(*[np.arange(11.0)] * 3, indexing="ij"), axis=-1)
    volume = DoseVolume(grid, 30.0 + grid.index_zyx_to_patient(index) @ np.array([0.3, -0.2, 0.5]))
    mine, expected = (compute_dvh(outline.solid("prism"), volume) for outline in (led, Outline(None, here)))
    assert mine.volume_cc == pytest.approx(expected.volume_cc, rel=ROUNDED)
    for name in ("dmin_gy", "dmax_gy", "dmean_gy"):
        assert getattr(mine, name) == pytest.approx(getattr(expected, name), abs=1e-6)
    assert mine.dmax_gy == pytest.approx(30.0 + 3.0 + 2.0 + 0.5 * 4.5, abs=1e-6)
