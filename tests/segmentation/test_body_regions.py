"""Body regions from volumes, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.geometry.grid import Grid
from rtpipeline.segmentation.body_regions import REGIONS, Gate, Region, class_volumes_cc, gate, measure_regions
from rtpipeline.segmentation.label_map import LabelMap

EXACT = 1e-12
"""Counts of voxels times a product of three numbers."""


def volumes(**found: float) -> dict[str, float]:
    """Every anchor asked for, these found."""
    return {name: 0.0 for anchors in REGIONS.values() for name in anchors.classes} | found


def test_an_empty_image_shows_no_region() -> None:
    assert measure_regions(volumes()) == {name: Region(False, 0.0, 0, ()) for name in REGIONS}


@pytest.mark.parametrize(
    ("found", "region", "present", "confidence"),
    [
        ({"vertebrae_T1": 9.0, "vertebrae_T2": 9.0, "vertebrae_T3": 9.0}, "THORAX", True, 0.7),
        ({"vertebrae_T1": 9.0, "vertebrae_T2": 9.0}, "THORAX", False, 0.7 * 2 / 3),
        ({"vertebrae_T1": 9.0, "vertebrae_T2": 9.0, "heart": 50.0}, "THORAX", True, 0.7 * 2 / 3 + 0.3),
        ({"heart": 50.0}, "THORAX", True, 0.3),
        ({"heart": 49.9}, "THORAX", False, 0.0),
        ({f"vertebrae_T{n}": 9.0 for n in range(1, 13)} | {"heart": 500.0}, "THORAX", True, 1.0),
        ({"lung_upper_lobe_left": 120.0, "lung_lower_lobe_right": 80.0}, "THORAX", True, 0.3),
        ({"vertebrae_C7": 1.01}, "HEAD_NECK", True, 0.7),
        ({"vertebrae_C7": 1.0}, "HEAD_NECK", False, 0.0),
        ({"kidney_left": 25.0, "kidney_right": 15.0, "vertebrae_L3": 2.0}, "ABDOMEN", True, 0.35 + 0.3),
        ({"sacrum": 200.0, "urinary_bladder": 10.0}, "PELVIS", True, 1.0),
    ],
)
def test_confidence_is_seven_tenths_of_the_vertebrae_and_three_of_an_organ(
    found: dict[str, float], region: str, present: bool, confidence: float
) -> None:
    measured = measure_regions(volumes(**found))
    assert measured[region].present is present
    assert measured[region].confidence == pytest.approx(confidence, abs=1e-4)  # rounded to four digits
    others = {name: r for name, r in measured.items() if name != region}
    assert others == {name: Region(False, 0.0, 0, ()) for name in others}


def test_a_region_whose_anchors_were_not_all_asked_for_is_unknown_and_not_absent() -> None:
    asked = volumes()
    del asked["vertebrae_T7"]
    assert "THORAX" not in measure_regions(asked)
    assert gate(["THORAX"], 0.5, measure_regions(asked)) == Gate((), ("THORAX",))


def test_a_model_runs_where_its_regions_are_present_and_sure_enough() -> None:
    shown = {"THORAX": Region(True, 0.7, 3, ()), "PELVIS": Region(True, 0.3, 0, ("hips",)),
             "ABDOMEN": Region(False, 0.35, 1, ())}  # fmt: skip
    assert gate([], 0.5, shown) == Gate((), ())
    assert gate(["THORAX"], 0.7, shown) == Gate((), ())
    assert gate(["THORAX"], 0.71, shown).refused == ("THORAX with confidence 0.70",)
    assert gate(["PELVIS", "ABDOMEN"], 0.5, shown).refused == ("PELVIS with confidence 0.30", "ABDOMEN absent")
    assert gate(["PELVIS"], 0.0, shown) == Gate((), ())
    assert gate(["THORAX"], 0.5, {}) == Gate((), ("THORAX",))


def test_volumes_are_voxels_times_their_volume_also_of_absent_classes() -> None:
    grid = Grid.from_dicom_like([1, 0, 0, 0, 1, 0], [0, 0, 0], [2.0, 1.5], np.arange(4) * -2.5, 3, 5)
    values = np.zeros((4, 3, 5), np.uint8)
    values[0, 0, :3] = 2
    values[1:, 2, 4] = 7
    names = {2: "liver", 5: "spleen", 7: "heart"}
    label_map = LabelMap("ct-01", "totalsegmentator", "total", values, grid, names, 1.5, False)
    voxel_cc = 2.0 * 1.5 * 2.5 / 1000
    expected = {"liver": 3 * voxel_cc, "spleen": 0.0, "heart": 3 * voxel_cc}
    assert class_volumes_cc(label_map) == pytest.approx(expected, rel=EXACT)
    assert set(class_volumes_cc(label_map, ["heart"])) == {"heart"}
