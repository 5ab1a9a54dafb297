"""Labels of networks as structures: measured, named, read back, and met by the dose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtpipeline.config import Config
from rtpipeline.demo.small import small_patient
from rtpipeline.store.identity import load_or_make_secret
from tests.structures.networks import ball, centres_xyz_mm, chain_with_maps, cuboid, reader_of, voxel_cc
from tests.synthetic.pipeline import Chain

ROUNDING = 1e-9
"""Relative; a volume is a count of voxels times their edges, whose positions were written with few decimals."""
DOSE_MEAN_GY = 0.02
"""The mean over cells against the dose at the centroid: the cells' centroid differs by their rounding."""

CENTRE = (5.0, -12.0, 40.0)
LIVER, HEART = ball((20.0, -10.0, 38.0), 9.0), cuboid((-15.0, -25.0, 33.0), (-3.0, -7.0, 49.0))


def row_of(chain: Chain, name: str) -> dict[str, object]:
    (row,) = [r for r in reader_of(chain).rows if r["structure_name"] == name]
    return row


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP", "HFDL"])
def test_a_label_is_measured_by_its_voxels_and_read_back_to_the_voxel(tmp_path: Path, position: str) -> None:
    shapes = {"liver": LIVER, "heart": HEART, "spleen": None}
    chain = chain_with_maps(small_patient(position=position), tmp_path, shapes)
    reader = reader_of(chain)
    grid = reader.grid("ct-01")
    points = centres_xyz_mm(grid)
    for name, inside in (("liver", LIVER), ("heart", HEART)):
        row = row_of(chain, name)
        expected = inside(points)
        mask = reader.mask(str(row["structure_set_id"]), str(row["structure_id"]))
        assert mask is not None
        assert np.array_equal(mask.whole(), expected)
        assert row["volume_cc"] == pytest.approx(np.count_nonzero(expected) * voxel_cc(grid), rel=ROUNDING)
        centroid = [row[f"centroid_{axis}_mm"] for axis in "xyz"]
        assert centroid == pytest.approx(points[expected].mean(axis=0), abs=1e-6)
        assert (row["status"], row["outside_image_pct"]) == ("ok", 0.0)
    spleen = row_of(chain, "spleen")
    assert (spleen["status"], spleen["volume_cc"], spleen["planes"]) == ("empty", None, 0)
    assert reader.mask(str(spleen["structure_set_id"]), str(spleen["structure_id"])) is None
    assert chain.finding_codes == set()


def test_every_source_keeps_its_ids_and_says_what_its_name_rests_on(tmp_path: Path) -> None:
    names = tmp_path / "names.csv"
    names.write_text("structure_name,tg263\nown_gtv,GTV\n")
    patient = small_patient(names={"SpinalCord": "Myelon"})
    chain = chain_with_maps(
        patient, tmp_path, {"liver": LIVER}, custom={"own_gtv": HEART}, config=Config(structure_names=names)
    )
    keys = ("structure_set_id", "structure_id", "structure_source", "structure_name_tg263", "tg263_evidence")
    found = {r["structure_name"]: tuple(r[k] for k in keys) for r in reader_of(chain).rows}
    assert found["Myelon"] == ("rs-01", "manual-rs-01-0004", "manual", "SpinalCord", "synonym")
    assert found["PTV"] == ("rs-01", "manual-rs-01-0003", "manual", "PTV", "target")
    network = "totalsegmentator-ct-01-total"
    assert found["liver"] == (network, f"{network}-liver", "totalsegmentator", "Liver", "totalsegmentator")
    assert found["own_gtv"] == ("custom-ct-01-own", "custom-ct-01-own-own_gtv", "custom", "GTV", "mapping")


def test_the_mean_of_a_linear_dose_in_a_label_is_the_dose_at_its_centroid(tmp_path: Path) -> None:
    patient = small_patient(position="HFDL")
    chain = chain_with_maps(patient, tmp_path, {"liver": LIVER, "spleen": None}, stages=("structures", "dvh"))
    rows = {r["structure_name"]: r for r in chain.rows("dvh", "dvh_metrics")}
    liver = row_of(chain, "liver")
    centroid = np.array([liver[f"centroid_{axis}_mm"] for axis in "xyz"])
    expected = 50.0 + (centroid - np.array(CENTRE)) @ np.array([0.10, -0.06, 0.08])
    assert rows["liver"]["dmean_gy"] == pytest.approx(expected, abs=DOSE_MEAN_GY)
    assert (rows["liver"]["dose_link"], rows["PTV"]["dose_link"]) == ("image_frame", "plan_reference")
    assert rows["liver"]["structure_name_tg263"] == "Liver"
    assert rows["spleen"]["dose_status"] == "no_volume"
    assert chain.findings == []


def test_a_dose_in_another_frame_of_reference_does_not_reach_the_image(tmp_path: Path) -> None:
    patient = small_patient()
    assert patient.rtdose is not None
    patient.rtdose.FrameOfReferenceUID = patient.study.uids("elsewhere")
    chain = chain_with_maps(patient, tmp_path, {"liver": LIVER}, stages=("structures", "dvh"))
    assert "liver" in {r["structure_name"] for r in reader_of(chain).rows}
    assert "liver" not in {r["structure_name"] for r in chain.rows("dvh", "dvh_metrics")}


def test_images_alone_give_the_structures_of_the_networks(tmp_path: Path) -> None:
    patient = small_patient()
    patient.rtstruct = patient.rtplan = patient.rtdose = None
    chain = chain_with_maps(patient, tmp_path, {"liver": LIVER}, stages=("structures", "dvh"))
    assert chain.course.course_kind == "images_only"
    assert [r["structure_name"] for r in reader_of(chain).rows] == ["liver"]
    assert chain.record(chain.course.course_id, "dvh").status == "not_applicable"


def test_without_structures_and_networks_the_stage_does_not_apply(tmp_path: Path) -> None:
    patient = small_patient()
    patient.rtstruct = patient.rtplan = patient.rtdose = None
    chain = chain_with_maps(patient, tmp_path, {})
    assert chain.record(chain.course.course_id, "structures").status == "not_applicable"


def test_the_same_structure_of_two_sources_is_compared(tmp_path: Path) -> None:
    """The network's ball is the GTV moved by one voxel: Dice and distances of masks, by numpy."""
    moved = ball((5.0, -12.0, 43.0), 12.0)
    chain = chain_with_maps(small_patient(), tmp_path, {"liver": LIVER}, custom={"GTV": moved})
    (row,) = chain.rows("structures", "agreement")
    assert (row["structure_source_a"], row["structure_source_b"]) == ("manual", "custom")
    reader = reader_of(chain)
    a, b = (
        reader.mask(s, i) for s, i in (("rs-01", "manual-rs-01-0002"), ("custom-ct-01-own", "custom-ct-01-own-GTV"))
    )
    assert a is not None
    assert b is not None
    both = np.count_nonzero(a.whole() & b.whole())
    assert row["dice"] == pytest.approx(2 * both / (a.voxels + b.voxels), rel=ROUNDING)
    assert row["hd95_mm"] == pytest.approx(3.0, abs=1e-6)


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    written = []
    secret = load_or_make_secret(tmp_path / "one" / "work" / "private")
    (tmp_path / "two" / "work" / "private").mkdir(parents=True)
    (tmp_path / "two" / "work" / "private" / "secret").write_bytes(secret)
    for run in ("one", "two"):
        chain = chain_with_maps(small_patient(), tmp_path / run, {"liver": LIVER}, custom={"GTV": HEART})
        folder = chain.folder(chain.course.course_id, "structures")
        written.append({p.name: p.read_bytes() for p in sorted(folder.glob("*.parquet"))})
    assert written[0].keys() >= {"structures.parquet", "contours.parquet", "agreement.parquet"}
    assert written[0] == written[1]
