"""Levels from landmarks, and what is cut between them: closed forms on boxes and spheres, in any position."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtpipeline.config import Config
from rtpipeline.demo.small import small_patient
from rtpipeline.geometry.grid import Grid
from rtpipeline.structures.crop import REGIONS, LandmarkMissingError, limits_of
from tests.structures.networks import (
    Inside,
    ball,
    centres_xyz_mm,
    chain_with_maps,
    cuboid,
    drawn_map,
    reader_of,
    voxel_cc,
)
from tests.synthetic.pipeline import Chain

FAR = 1000.0
ROUNDING_MM = 1e-6


def grid_of(iop=(1, 0, 0, 0, 1, 0), *, descending=False) -> Grid:
    """A hundred planes of 2 mm from z = 1 to 199 mm, so that the image ends at 0 and 200 mm."""
    offsets = 2.0 * np.arange(100) * (-1 if descending else 1)
    start = 199.0 if descending else 1.0
    return Grid.from_dicom_like(iop, (0.0, 0.0, start), (10.0, 10.0), offsets, 4, 4)


def slab(low_mm: float, high_mm: float) -> Inside:
    """Everything from one level to another."""
    return cuboid((-FAR, -FAR, low_mm), (FAR, FAR, high_mm))


def levels(
    shapes: dict[str, Inside | None], region: str, grid: Grid | None = None, **margins: float
) -> tuple[float, float]:
    found = limits_of(drawn_map(grid or grid_of(), shapes), region, **margins)  # type: ignore[arg-type]
    return found.superior.position_mm, found.inferior.position_mm


BRAIN = {"brain": slab(60, 120)}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("iop", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0), (0, 1, 0, -1, 0, 0)])
def test_a_level_is_the_outer_face_of_the_landmark_and_the_margin(iop, descending):
    assert levels(BRAIN, "brain", grid_of(iop, descending=descending)) == pytest.approx((130.0, 50.0))
    own = {"superior_margin_mm": 4.0, "inferior_margin_mm": 0.0}
    assert levels(BRAIN, "brain", grid_of(iop, descending=descending), **own) == pytest.approx((124.0, 60.0))


def test_feet_first_the_superior_axis_is_still_the_patients():
    grid = Grid.from_dicom_like((1, 0, 0, 0, -1, 0), (0.0, 0.0, 199.0), (10.0, 10.0), 2.0 * np.arange(100), 4, 4)
    assert grid.normal[2] == -1.0
    assert levels(BRAIN, "brain", grid) == pytest.approx((130.0, 50.0))


def test_on_coronal_planes_the_levels_are_those_of_the_patient_too():
    grid = Grid.from_dicom_like((1, 0, 0, 0, 0, -1), (0.0, 0.0, 199.0), (2.0, 10.0), 10.0 * np.arange(4), 100, 4)
    assert levels(BRAIN, "brain", grid) == pytest.approx((130.0, 50.0))


L1, T12, L5, C7 = "vertebrae_L1", "vertebrae_T12", "vertebrae_L5", "vertebrae_C7"


@pytest.mark.parametrize(
    ("region", "shapes", "expected"),
    [
        ("pelvis", {L1: slab(150, 170), "femur_left": slab(120, 130), "femur_right": slab(116, 134)}, (170.0, 16.0)),
        ("pelvis", {L5: slab(150, 170), "femur_left": slab(120, 130)}, (200.0, 20.0)),
        ("pelvis", {L1: slab(150, 170), "hip_left": slab(0, 40)}, (170.0, 0.0)),
        ("thorax", {C7: slab(150, 160), L1: slab(50, 60)}, (180.0, 30.0)),
        ("thorax", {"lung_upper_lobe_left": slab(80, 150), "liver": slab(40, 70)}, (170.0, 50.0)),
        ("thorax", {C7: slab(150, 160), "lung_lower_lobe_right": slab(60, 120)}, (180.0, 40.0)),
        ("abdomen", {T12: slab(120, 140), L1: slab(100, 120), L5: slab(40, 60)}, (160.0, 20.0)),
        ("abdomen", {L1: slab(100, 120), L5: slab(40, 60)}, (140.0, 20.0)),
        ("abdomen", {"liver": slab(90, 130), L5: slab(40, 60)}, (150.0, 20.0)),
        ("head_neck", {"brain": slab(120, 160), C7: slab(60, 80)}, (180.0, 40.0)),
        ("head_neck", {"skull": slab(110, 166), "clavicula_right": slab(50, 60)}, (186.0, 30.0)),
    ],
)
def test_each_region_takes_its_landmarks_in_order(region, shapes, expected):
    assert levels(shapes, region) == pytest.approx(expected)


@pytest.mark.parametrize("region", sorted(REGIONS))
def test_a_margin_that_is_set_counts_in_every_region(region):
    """That of the superior level of a pelvis had no effect."""
    body = {"brain": slab(100, 160), C7: slab(80, 90), T12: slab(70, 80), L1: slab(60, 70), L5: slab(50, 60),
            "femur_left": slab(30, 40)}  # fmt: skip
    none = levels(body, region, superior_margin_mm=0.0, inferior_margin_mm=0.0)
    own = levels(body, region, superior_margin_mm=5.0, inferior_margin_mm=-3.0)
    assert own == pytest.approx((none[0] + 5.0, none[1] + 3.0))


@pytest.mark.parametrize(
    ("region", "shapes", "said"),
    [
        ("pelvis", {"femur_left": slab(20, 40)}, "no superior landmark: none of vertebrae_L1 found"),
        ("pelvis", {T12: slab(150, 160), L5: slab(120, 130), "femur_left": slab(20, 40)}, "superior"),
        ("abdomen", {T12: slab(120, 140)}, "no inferior landmark: none of vertebrae_L5 found"),
        ("brain", {"brain": None}, "no superior landmark"),
        ("thorax", {C7: slab(10, 20), L1: slab(150, 160)}, "not above"),
    ],
)
def test_a_level_is_never_guessed(region, shapes, said):
    """The superior level of a pelvis without L1 used to be the highest vertebra, else 0 mm."""
    with pytest.raises(LandmarkMissingError, match=said):
        levels(shapes, region)


def test_levels_outside_the_image_are_moved_to_its_ends_and_say_by_how_much():
    found = limits_of(drawn_map(grid_of(), {"brain": slab(4, 196)}), "brain")
    assert (found.superior.position_mm, found.inferior.position_mm) == pytest.approx((200.0, 0.0))
    assert (found.superior.clamped_mm, found.inferior.clamped_mm) == pytest.approx((6.0, 6.0))
    assert found.superior.landmark == "top of brain"


def test_a_stray_piece_far_away_does_not_move_a_level():
    def with_stray(points: np.ndarray) -> np.ndarray:
        return slab(60, 120)(points) | ((points[..., 2] > 194) & (points[..., 0] < 5) & (points[..., 1] < 5))

    assert levels({"brain": with_stray}, "brain") == pytest.approx((130.0, 50.0))


# The stage, on the small patient: 40 x 40 x 20 voxels of 3 mm around (5, -12, 40); GTV a sphere of 12 mm there.

HEAD: dict[str, Inside | None] = {"brain": slab(35.5, 42.0), "liver": ball((5.0, -12.0, 40.0), 9.0)}
SETTINGS = {"enabled": True, "region": "brain", "superior_margin_cm": 0.3, "inferior_margin_cm": 0.0}


def cropped_chain(tmp_path: Path, shapes: dict[str, Inside | None], position: str = "HFS", **changes: Any) -> Chain:
    config = Config.model_validate({"ct_cropping": SETTINGS | changes})
    stages = ("structures", "dvh")
    return chain_with_maps(small_patient(position=position), tmp_path, shapes, config=config, stages=stages)


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP", "HFDL"])
def test_what_crosses_a_level_is_cut_there_and_nothing_moves(tmp_path: Path, position: str) -> None:
    """The cropped structures used to be mirrored from front to back."""
    chain = cropped_chain(tmp_path, HEAD, position)
    reader = reader_of(chain)
    grid = reader.grid("ct-01")
    z_mm = centres_xyz_mm(grid)[..., 2]
    brain = z_mm[HEAD["brain"](centres_xyz_mm(grid))]  # type: ignore[misc]
    low, high = brain.min() - 1.5, brain.max() + 1.5 + 3.0
    levels_mm = json.loads((chain.folder(chain.course.course_id, "structures") / "cropping.json").read_text())["ct-01"]
    assert levels_mm["superior"]["position_mm"] == pytest.approx(high, abs=ROUNDING_MM)
    assert levels_mm["inferior"]["position_mm"] == pytest.approx(low, abs=ROUNDING_MM)
    rows = {(r["structure_source"], r["structure_name"]): r for r in reader.rows}
    cut = {name for source, name in rows if source == "cropped"}
    assert cut == {"BODY", "GTV", "PTV", "SpinalCord", "liver"}  # the brain is where it is cut
    for (source, name), row in rows.items():
        if source == "cropped":
            whole = next(r for (s, n), r in rows.items() if n == name and s != "cropped")
            mask, of = (reader.mask(r["structure_set_id"], r["structure_id"]) for r in (row, whole))
            assert mask is not None
            assert of is not None
            assert np.array_equal(mask.whole(), of.whole() & (z_mm > low) & (z_mm < high))
            assert row["volume_cc"] == pytest.approx(mask.voxels * voxel_cc(grid), rel=1e-9)
            assert row["derived_from"] == whole["structure_id"]
            assert (row["structure_set_id"], row["roi_type"]) == ("cropped-ct-01", None)
            assert row["structure_name_tg263"] == whole["structure_name_tg263"]
    dvh = {r["structure_name"]: r for r in chain.rows("dvh", "dvh_metrics") if r["structure_source"] == "cropped"}
    assert dvh["PTV"]["dose_link"] == "image_frame"
    assert np.isnan(dvh["PTV"]["rx_gy"])  # the prescription is for the whole
    assert chain.finding_codes == set()


def test_what_lies_between_the_levels_has_no_second_row(tmp_path: Path) -> None:
    chain = cropped_chain(tmp_path, {"brain": ball((5.0, -12.0, 40.0), 9.0), "liver": ball((-25.0, -12.0, 40.0), 6.0)})
    cropped = {r["structure_name"] for r in reader_of(chain).rows if r["structure_source"] == "cropped"}
    assert "liver" not in cropped
    assert "PTV" in cropped


def test_without_landmarks_nothing_is_cropped_and_it_is_told(tmp_path: Path) -> None:
    chain = cropped_chain(tmp_path, {"liver": HEAD["liver"]})
    (found,) = chain.found("SS_CROP_LANDMARK")
    assert (found.object, found.severity) == ("ct-01 brain", "W")
    assert "none of brain found" in found.measured
    assert not [r for r in reader_of(chain).rows if r["structure_source"] == "cropped"]


def test_without_a_label_map_nothing_is_cropped_and_it_is_told(tmp_path: Path) -> None:
    (found,) = cropped_chain(tmp_path, {}).found("SS_CROP_LANDMARK")
    assert (found.object, found.measured[:12]) == ("course brain", "no label map")


def test_a_level_beyond_the_image_is_recorded(tmp_path: Path) -> None:
    chain = cropped_chain(tmp_path, HEAD, superior_margin_cm=10.0)
    (found,) = chain.found("SS_CROP_CLAMPED")
    assert (found.severity, found.measured[:29]) == ("I", "superior level by top of brai")
    assert {r["structure_name"] for r in reader_of(chain).rows if r["structure_source"] == "cropped"} >= {"PTV", "BODY"}
