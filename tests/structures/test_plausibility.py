from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.geometry.solid import PrismSolid
from rtpipeline.structures.plausibility import LARGEST_CC, Drawn, plausibility_findings, words_and_side


def box(name, centre_mm=(0.0, 0.0, 0.0), side_mm=10.0, roi_type="ORGAN"):
    """A cube of four planes."""
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) * side_mm + centre_mm[:2]
    heights = centre_mm[2] + side_mm * (np.arange(4) - 1.5) / 4
    contours = [np.column_stack([corners, np.full(4, z)]) for z in heights]
    return Drawn(f"ROI '{name}'", name, roi_type, PrismSolid.from_contours(contours, single_plane_thickness_mm=None))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Lung_L", ("lung", "left")),
        ("LungLeft", ("lung", "left")),
        ("Lt Lung", ("lung", "left")),
        ("Niere re.", ("niere", "right")),
        ("KIDNEY_R", ("kidney", "right")),
        ("Lungs", ("lungs", "")),
        ("Rectum", ("rectum", "")),
        ("PTV_L+R", ("ptvlr", "")),
    ],
)
def test_a_word_of_the_name_says_the_side(name, expected):
    assert words_and_side(name) == expected


def test_left_is_where_x_grows():
    right_way = [box("Lung_L", (60, 0, 0)), box("Lung_R", (-60, 0, 0))]
    assert plausibility_findings(right_way) == []
    (found,) = plausibility_findings([box("Lung_L", (-60, 0, 0)), box("Lung_R", (60, 0, 0))])
    assert (found.object, found.measured) == ("ROI 'Lung_L'", "centre 120.0 mm to the right of that of 'Lung_R'")


def test_sides_are_compared_within_a_pair_only():
    apart = [box("Lung_L", (-60, 0, 0)), box("Kidney_R", (60, 0, 0)), box("Eye_L", (1, 0, 0)), box("Eye_R", (2, 0, 0))]
    assert plausibility_findings(apart) == []
    twice = [box("Lung_L", (-60, 0, 0)), box("lung l", (60, 0, 0)), box("Lung_R", (0, 0, 0))]
    assert plausibility_findings(twice) == []


@pytest.mark.parametrize("name", ["Lens_L", "SpinalCord", "cord"])
def test_an_organ_larger_than_any_is_told(name):
    limit_cc = LARGEST_CC[words_and_side(name)[0]]
    side_mm = (1000 * limit_cc) ** (1 / 3)
    assert plausibility_findings([box(name, side_mm=0.99 * side_mm)]) == []
    (found,) = plausibility_findings([box(name, side_mm=1.01 * side_mm)])
    assert found.expected == f"at most {limit_cc:g} cc"
    assert plausibility_findings([box(f"PRV {name}", side_mm=1.01 * side_mm)]) == []


def test_a_gtv_has_to_meet_a_ptv():
    ptvs = [box("PTV1", roi_type="PTV"), box("PTV2", (0, 0, 40), roi_type="PTV")]
    inside, outside = box("GTV2", (0, 0, 38), 6.0, "GTV"), box("GTV3", (0, 30, 0), 6.0, "GTV")
    assert plausibility_findings([*ptvs, inside]) == []
    (found,) = plausibility_findings([*ptvs, inside, outside])
    assert (found.object, found.measured) == ("ROI 'GTV3'", "outside the 2 PTV of its set")
    assert plausibility_findings([outside]) == []
