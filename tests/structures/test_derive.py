"""Derived structures through the stage: booleans against numpy, margins against closed forms, what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rtpipeline.config import Config
from rtpipeline.demo.small import SmallPatient, small_patient
from rtpipeline.demo.solids import Box, sphere
from tests.structures.networks import ball, centres_xyz_mm, chain_with_maps, reader_of, voxel_cc
from tests.synthetic.pipeline import Chain, run_chain

CENTRE = (5.0, -12.0, 40.0)
ROUNDING = 1e-9
"""Relative; a volume is a count of voxels times their edges."""
LIVER = ball((14.0, -10.0, 38.0), 13.0)


def chain_of(
    tmp_path: Path, entries: list[dict[str, Any]], patient: SmallPatient | None = None, **arguments: Any
) -> Chain:
    path = tmp_path / "custom.yaml"
    path.write_text(yaml.safe_dump({"custom_structures": entries}))
    patient = patient or small_patient()
    shapes = arguments.pop("shapes", {"liver": LIVER, "duodenum": None})
    return chain_with_maps(patient, tmp_path, shapes, config=Config(custom_structures=path), **arguments)


def one(chain: Chain, name: str, source: str | None = None) -> dict[str, Any]:
    found = [r for r in reader_of(chain).rows if r["structure_name"] == name]
    (row,) = [r for r in found if source in (None, r["structure_source"])]
    return row


def whole(chain: Chain, name: str, source: str | None = None) -> np.ndarray:
    row = one(chain, name, source)
    mask = reader_of(chain).mask(row["structure_set_id"], row["structure_id"])
    assert mask is not None
    return mask.whole()


@pytest.mark.parametrize("position", ["HFS", "HFDL"])
def test_expressions_are_those_of_numpy_on_the_masks_that_later_stages_read(tmp_path: Path, position: str) -> None:
    entries = [
        {"name": "rest", "expression": "far - common"},  # before what it is made of
        {"name": "common", "operation": "intersection", "source_structures": ["GTV", "liver"]},
        {"name": "either", "operation": "xor", "source_structures": ["GTV", "liver"]},
        {"name": "far", "operation": "subtract", "source_structures": ["PTV", "SpinalCord"]},
        {"name": "all", "expression": "(PTV | liver) & BODY"},
    ]
    chain = chain_of(tmp_path, entries, small_patient(position=position))
    gtv, liver, ptv = (whole(chain, n) for n in ("GTV", "liver", "PTV"))
    cord, body = whole(chain, "SpinalCord"), whole(chain, "BODY")
    expected = {
        "common": gtv & liver, "either": gtv ^ liver, "far": ptv & ~cord, "rest": ptv & ~cord & ~(gtv & liver),
        "all": (ptv | liver) & body,
    }  # fmt: skip
    unit_cc = voxel_cc(reader_of(chain).grid("ct-01"))
    for name, mask in expected.items():
        assert np.array_equal(whole(chain, name), mask), name
        row = one(chain, name)
        assert row["volume_cc"] == pytest.approx(np.count_nonzero(mask) * unit_cc, rel=ROUNDING)
        assert (row["structure_source"], row["structure_set_id"]) == ("derived", "derived-ct-01")
        assert row["structure_id"] == f"derived-ct-01-{name}"
    assert one(chain, "rest")["derived_from"] == "far=derived-ct-01-far; common=derived-ct-01-common"
    assert chain.findings == []


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP", "HFDL"])
def test_a_box_with_six_margins_has_them_on_the_patients_sides(tmp_path: Path, position: str) -> None:
    """The largest margin used to be taken on every side, and a negative one to do nothing."""
    margin = {"left_mm": 9, "right_mm": 3, "posterior_mm": 6, "anterior_mm": -3, "superior_mm": 3, "inferior_mm": 0}
    chain = chain_of(tmp_path, [{"name": "grown", "source_structures": ["PTV"], "margin": margin}],
                     small_patient(position=position))  # fmt: skip
    points = centres_xyz_mm(reader_of(chain).grid("ct-01"))
    before, after = (points[whole(chain, n)] for n in ("PTV", "grown"))
    assert after.max(axis=0) - before.max(axis=0) == pytest.approx([9.0, 6.0, 3.0], abs=1e-6)
    assert after.min(axis=0) - before.min(axis=0) == pytest.approx([-3.0, 3.0, 0.0], abs=1e-6)


def test_a_sphere_with_a_margin_has_the_volume_of_the_larger_sphere_within_its_voxels(tmp_path: Path) -> None:
    """The radius within 0.15 of a voxel's longest edge, as tests/geometry/test_mask_margins.py has it."""
    solids = {"BALL": ("ORGAN", sphere(CENTRE, 12.0))}
    patient = small_patient(shape_xyz=(50, 50, 34), spacing_xyz_mm=(1.5, 1.5, 2.0), solids=solids)
    chain = chain_of(tmp_path, [{"name": "ring", "source_structures": ["BALL"], "margin": 6}], patient, shapes={})
    points = centres_xyz_mm(reader_of(chain).grid("ct-01"))
    farthest_mm = np.linalg.norm(points[whole(chain, "ring")] - np.array(CENTRE), axis=-1).max()
    assert farthest_mm <= 18.0 + 2.0 / 3
    radius_mm = (1000 * one(chain, "ring")["volume_cc"] / (4 / 3 * np.pi)) ** (1 / 3)
    assert radius_mm == pytest.approx(18.0, abs=0.15 * 2.0)


def test_what_is_missing_makes_no_structure_and_no_other_name(tmp_path: Path) -> None:
    """A union without one of its parts used to be made all the same, under another name."""
    entries = [
        {"name": "whole", "source_structures": ["GTV", "spleen"]},
        {"name": "not found", "source_structures": ["GTV", "duodenum"]},
        {"name": "of it", "expression": "PTV - whole"},
        {"name": "some", "source_structures": ["GTV", "spleen", "liver"], "allow_missing": True},
        {"name": "none", "source_structures": ["spleen"], "allow_missing": True},
    ]
    chain = chain_of(tmp_path, entries)
    made = {r["structure_name"] for r in reader_of(chain).rows if r["structure_source"] == "derived"}
    assert made == {"some"}
    assert np.array_equal(whole(chain, "some"), whole(chain, "GTV") | whole(chain, "liver"))
    told = {f.object: f.measured for f in chain.found("SS_DERIVED_MISSING")}
    assert told == {
        "ct-01 derived 'whole'": "no structure is called 'spleen'",
        "ct-01 derived 'not found'": "'duodenum' has no volume here (empty)",
        "ct-01 derived 'of it'": "derived 'whole' was not made",
        "ct-01 derived 'none'": "no structure is called 'spleen'",
    }


def test_a_derived_structure_without_a_voxel_is_empty_and_still_a_set(tmp_path: Path) -> None:
    entries = [
        {"name": "nothing", "expression": "GTV - BODY"},
        {"name": "all of it", "expression": "GTV - nothing"},
    ]
    chain = chain_of(tmp_path, entries)
    assert (one(chain, "nothing")["status"], one(chain, "nothing")["volume_cc"]) == ("empty", None)
    assert np.array_equal(whole(chain, "all of it"), whole(chain, "GTV"))
    assert chain.findings == []


def test_a_name_is_matched_whole_and_never_by_its_letters(tmp_path: Path) -> None:
    """`PTV 5.0` used to match `PTV50`."""
    entries = [{"name": "X", "source_structures": ["PTV 5.0"]}, {"name": "Y", "source_structures": ["ptv50"]}]
    chain = chain_of(tmp_path, entries, small_patient(names={"PTV": "PTV50"}))
    assert len(chain.found("SS_DERIVED_MISSING")) == 2
    assert not [r for r in reader_of(chain).rows if r["structure_source"] == "derived"]


def test_the_manual_structure_comes_before_the_networks_unless_one_is_asked_for(tmp_path: Path) -> None:
    patient = small_patient(names={"GTV": "Leber"})
    entries = [
        {"name": "by TG-263", "source_structures": ["Liver"]},
        {"name": "by class", "source_structures": ["totalsegmentator:liver"]},
        {"name": "quoted", "expression": '"custom:Liver" | Liver'},
    ]
    chain = chain_of(tmp_path, entries, patient, custom={"Liver": ball((0.0, -20.0, 40.0), 8.0)})
    network = "totalsegmentator-ct-01-total-liver"
    assert one(chain, "by TG-263")["derived_from"] == "Liver=manual-rs-01-0002"
    assert one(chain, "by class")["derived_from"] == f"totalsegmentator:liver={network}"
    assert np.array_equal(whole(chain, "by class"), whole(chain, "liver"))
    assert one(chain, "quoted")["derived_from"] == "custom:Liver=custom-ct-01-own-Liver; Liver=manual-rs-01-0002"


def test_two_structures_that_nothing_tells_apart_are_not_chosen_from(tmp_path: Path) -> None:
    patient = small_patient(names={"GTV": "Target", "PTV": "Target"})
    entries = [
        {"name": "X", "source_structures": ["Target"]},
        {"name": "Y", "source_structures": ["BODY", "Target"], "allow_missing": True},  # neither of them is missing
    ]
    chain = chain_of(tmp_path, entries, patient)
    told = {f.object: f.measured for f in chain.found("SS_DERIVED_MISSING")}
    said = "2 structures are called 'Target': manual-rs-01-0002, manual-rs-01-0003"
    assert told == {"ct-01 derived 'X'": said, "ct-01 derived 'Y'": said}
    assert not [r for r in reader_of(chain).rows if r["structure_source"] == "derived"]


def test_names_that_become_one_id_get_a_number(tmp_path: Path) -> None:
    entries = [{"name": name, "source_structures": ["GTV"]} for name in ("A +", "A /", "+++")]
    ids = {r["structure_name"]: r["structure_id"] for r in reader_of(chain_of(tmp_path, entries)).rows}
    assert [ids[n] for n in ("A +", "A /", "+++")] == [
        "derived-ct-01-A", "derived-ct-01-A-2", "derived-ct-01-structure",
    ]  # fmt: skip


def test_a_margin_beyond_the_image_is_whole_for_the_dose_and_cut_in_the_mask(tmp_path: Path) -> None:
    """A box that ends 6 mm below the image's last plane, with 18 mm: 12 mm of it lie outside, exact in its volume."""
    solids = {"PTV": ("PTV", Box((5.0, -12.0, 40.0 + 28.5 - 12.0 - 6.0), (12.0, 12.0, 12.0)))}
    patient = small_patient(solids=solids, dose_margin_mm=30.0)
    entries = [{"name": "up", "source_structures": ["PTV"], "margin": {"superior_mm": 18}}]
    chain = chain_of(tmp_path, entries, patient, shapes={}, stages=("structures", "dvh"))
    up, ptv = one(chain, "up"), one(chain, "PTV")
    reader = reader_of(chain)
    grid = reader.grid("ct-01")
    layer_cc = np.count_nonzero(whole(chain, "PTV").any(axis=0)) * voxel_cc(grid)
    assert up["volume_cc"] == pytest.approx(np.count_nonzero(whole(chain, "PTV")) * voxel_cc(grid) + 6 * layer_cc)
    mask = reader.mask(up["structure_set_id"], up["structure_id"])
    assert mask is not None
    outside_cc = up["volume_cc"] - mask.voxels * voxel_cc(grid)
    assert outside_cc == pytest.approx(4 * layer_cc, rel=ROUNDING)
    assert up["outside_image_pct"] == pytest.approx(100 * outside_cc / up["volume_cc"], rel=ROUNDING)
    assert mask.lost_pct == up["outside_image_pct"]
    assert [f.object for f in chain.found("SS_OUTSIDE_IMAGE")] == ["ct-01 derived 'up'"]
    assert ptv["outside_image_pct"] == 0.0
    (row,) = [r for r in chain.rows("dvh", "dvh_metrics") if r["structure_name"] == "up"]
    # linear dose: the mean is the dose at the centroid, also of the part beyond the image
    centroid = np.array([up[f"centroid_{axis}_mm"] for axis in "xyz"])
    assert row["dmean_gy"] == pytest.approx(50.0 + (centroid - CENTRE) @ np.array([0.10, -0.06, 0.08]), abs=0.02)
    assert (row["dose_link"], row["dose_coverage_pct"]) == ("image_frame", 100.0)


def test_a_manual_structure_that_leaves_the_image_is_derived_from_whole(tmp_path: Path) -> None:
    patient = small_patient()
    assert patient.rtstruct is not None
    gtv = patient.roi("GTV").number
    (item,) = [c for c in patient.rtstruct.ROIContourSequence if c.ReferencedROINumber == gtv]
    for contour in item.ContourSequence:  # 60 mm to the patient's left: half of it beyond the field of view
        points = np.add(np.array(contour.ContourData, float).reshape(-1, 3), (60.0, 0.0, 0.0))
        contour.ContourData = [round(v, 3) for v in points.ravel().tolist()]
    chain = chain_of(tmp_path, [{"name": "copy", "source_structures": ["GTV"]}], patient)
    gtv_row, copy = one(chain, "GTV"), one(chain, "copy")
    assert 30 < gtv_row["outside_image_pct"] < 70
    assert copy["volume_cc"] == pytest.approx(gtv_row["volume_cc"], rel=0.05)  # voxels of a sphere of 24 mm
    assert np.array_equal(whole(chain, "copy"), whole(chain, "GTV"))
    assert copy["outside_image_pct"] == pytest.approx(gtv_row["outside_image_pct"], abs=3.0)


def test_without_an_image_nothing_is_derived(tmp_path: Path) -> None:
    patient = small_patient()
    patient.ct = []
    path = tmp_path / "custom.yaml"
    path.write_text("- {name: X, source_structures: [GTV]}\n")
    chain = run_chain(patient.save(tmp_path / "export"), tmp_path / "work", Config(custom_structures=path))
    (found,) = chain.found("SS_DERIVED_MISSING")
    assert (found.object, found.measured) == ("course derived 'X'", "no structure lies on a prepared image")
    assert "GTV" in {r["structure_name"] for r in chain.rows("dvh", "dvh_metrics")}
