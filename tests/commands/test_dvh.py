"""`rtpipeline dvh` on the small patient, whose dose is linear and whose numbers are known."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from rtpipeline.cli import main
from rtpipeline.commands.dvh import DOSE_INTERPOLATION, END_CAP
from rtpipeline.config import DvhConfig
from rtpipeline.demo.headers import save
from rtpipeline.demo.prism_stack import PrismStack
from rtpipeline.demo.small import SmallPatient, small_patient

DOSE_TOLERANCE = 5e-3
"""relative; D of a prism stack in a linear dose"""


LITERAL = ("--end-cap", "prism", "--dose-interpolation", "linear")

SHAPE_RTOL = 0.05
"""Solids of small structures on 3 mm slices; the two ways to close them differ by no more here."""


@pytest.fixture(scope="module")
def patient() -> SmallPatient:
    return small_patient()


@pytest.fixture(scope="module")
def files(patient, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("loose")
    found = {}
    for name, data_set in (("rs", patient.rtstruct), ("rd", patient.rtdose), ("rp", patient.rtplan)):
        found[name] = folder / f"{name}.dcm"
        save(data_set, found[name])
    return found


def rows(capsys, *arguments: object) -> list[dict]:
    assert main(["dvh", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_rows_agree_with_the_closed_form(patient, files, capsys):
    found = rows(capsys, files["rs"], files["rd"], *LITERAL)
    assert [r["structure_name"] for r in found] == [roi.name for roi in sorted(patient.rois, key=lambda r: r.number)]
    for row in found:
        stack = PrismStack.from_contours(patient.roi(row["structure_name"]).contours)
        assert row["volume_cc"] == pytest.approx(stack.volume_cc(), rel=1e-4)
        truth = stack.metrics(patient.dose)
        for name in ("dmean_gy", "dmin_gy", "dmax_gy", "d95_gy", "d50_gy", "d2_gy"):
            assert row[name] == pytest.approx(truth[name], rel=DOSE_TOLERANCE), (row["structure_name"], name)


def test_a_plan_gives_the_prescription_and_without_one_it_is_unknown(files, capsys):
    without = {r["structure_name"]: r["rx_gy"] for r in rows(capsys, files["rs"], files["rd"])}
    assert set(without.values()) == {None}
    with_plan = rows(capsys, files["rs"], files["rd"], "--plan", files["rp"])
    assert {r["roi_type"] for r in with_plan if r["rx_gy"]} == {"PTV"}
    assert all(r["v95rx_pct"] is not None for r in with_plan if r["rx_gy"])


def test_columns_are_named_by_the_numbers_asked_for(files, capsys):
    (row,) = rows(
        capsys, files["rs"], files["rd"], "--structure", "PTV", "--d-pct", "97.5", "--d-cc", "0.03", "--v-gy", "12.5"
    )
    assert {"d97_5_gy", "d0_03cc_gy", "v12_5gy_cc", "v12_5gy_pct"} <= row.keys()
    assert "d95_gy" not in row


def test_a_structure_is_chosen_by_name_or_number(patient, files, capsys):
    roi = patient.roi("PTV")
    (by_name,) = rows(capsys, files["rs"], files["rd"], "--structure", roi.name)
    (by_number,) = rows(capsys, files["rs"], files["rd"], "--structure", str(roi.number))
    assert by_name == by_number


def test_several_structures_follow_one_option_or_several(patient, files, capsys):
    roi = patient.roi("PTV")
    arguments = ["--structure", roi.name, "SpinalCord", "--structure", "GTV"]
    together = rows(capsys, files["rs"], files["rd"], *arguments)
    assert [r["structure_name"] for r in together] == [roi.name, "SpinalCord", "GTV"]
    assert together[0] == rows(capsys, files["rs"], files["rd"], "--structure", str(roi.number))[0]


def test_the_solid_and_the_interpolation_stand_in_each_row(files, capsys):
    def said(found):
        return {(r["end_cap"], r["dose_interpolation"]) for r in found if r["volume_cc"]}

    literal = rows(capsys, files["rs"], files["rd"], *LITERAL)
    usual = rows(capsys, files["rs"], files["rd"])
    assert (said(literal), said(usual)) == ({("prism", "linear")}, {("shape", "cubic")})
    for a, b in zip(literal, usual, strict=True):
        assert b["volume_cc"] == pytest.approx(a["volume_cc"], rel=SHAPE_RTOL)
        assert b["dmean_gy"] == pytest.approx(a["dmean_gy"], rel=SHAPE_RTOL)
        assert b["dose_overshoot"] is False


def test_the_defaults_are_those_of_the_configuration():
    settings = DvhConfig()
    assert (settings.end_cap, settings.dose_interpolation) == (END_CAP, DOSE_INTERPOLATION)


def test_a_picture_is_drawn_beside_the_rows(files, tmp_path, capsys):
    found = rows(capsys, files["rs"], files["rd"], "--plot", tmp_path / "dvh.png")
    assert found
    with Image.open(tmp_path / "dvh.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(picture.width * picture.height)}
    assert len(colours) > len(found)


def test_contours_without_area_cost_their_structure_alone(patient, files, tmp_path, capsys):
    changed = small_patient()
    contours = changed.rtstruct.ROIContourSequence[0].ContourSequence
    for contour in contours:
        x, y, z = contour.ContourData[:3]
        contour.ContourData, contour.NumberOfContourPoints = [x, y, z, x + 5, y, z, x + 9, y, z], 3
    save(changed.rtstruct, tmp_path / "rs.dcm")
    found = rows(capsys, tmp_path / "rs.dcm", files["rd"])
    number = changed.rtstruct.ROIContourSequence[0].ReferencedROINumber
    assert {r["roi_number"]: r["status"] for r in found if r["status"] != "ok"} == {number: "degenerate"}
    (lost,) = (r for r in found if r["roi_number"] == number)
    assert (lost["volume_cc"], lost["dose_status"]) == (None, "no_volume")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_are_written_to_a_file(files, tmp_path, suffix, patient):
    path = tmp_path / f"out.{suffix}"
    assert main(["dvh", str(files["rs"]), str(files["rd"]), "--out", str(path)]) == 0
    found = list(csv.DictReader(path.open())) if suffix == "csv" else pq.read_table(path).to_pylist()
    assert len(found) == len(patient.rois)


def test_the_table_on_the_terminal_names_every_structure(files, capsys, patient):
    assert main(["dvh", str(files["rs"]), str(files["rd"])]) == 0
    shown = capsys.readouterr().out
    # a narrow terminal folds a long name
    assert all(roi.name[:6] in shown for roi in patient.rois)
    assert "not for treatment decisions" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{rs}", "{rs}"], 2, "is rtstruct; need an RTDOSE"),
        (["{rs}", "/nowhere.dcm"], 2, "does not exist"),
        (["{rs}", "{rd}", "--structure", "Nose"], 2, "no such structure"),
        (["{rs}", "{rd}", "--out", "x.doc"], 2, "parquet or .csv"),
        (["{rs}", "{rd}", "--plot", "x.pdf"], 2, "ends with .png"),
        (["{rs}", "{rd}", "--plot", "/nowhere/x.png"], 2, "no folder /nowhere"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(files, capsys, arguments, code, said):
    assert main(["dvh", *(a.format(**files) for a in arguments)]) == code
    assert said in capsys.readouterr().err


def test_a_relative_dose_is_refused_with_the_remedy(files, tmp_path, capsys):
    patient = small_patient()
    patient.rtdose.DoseUnits = "RELATIVE"
    save(patient.rtdose, tmp_path / "rd.dcm")
    assert main(["dvh", str(files["rs"]), str(tmp_path / "rd.dcm")]) == 3
    said = capsys.readouterr().err
    assert "RELATIVE" in said
    assert "GY" in said


def test_a_dose_of_one_plane_is_refused(files, tmp_path, capsys):
    patient = small_patient()
    n = patient.rtdose.Rows * patient.rtdose.Columns
    patient.rtdose.NumberOfFrames, patient.rtdose.GridFrameOffsetVector = 1, [0.0]
    patient.rtdose.PixelData = patient.rtdose.PixelData[: 4 * n]
    save(patient.rtdose, tmp_path / "rd.dcm")
    assert main(["dvh", str(files["rs"]), str(tmp_path / "rd.dcm")]) == 3
    assert "at least two planes" in capsys.readouterr().err


def test_another_frame_of_reference_is_refused(files, tmp_path, capsys):
    patient = small_patient()
    patient.rtdose.FrameOfReferenceUID = "1.2.3.4"
    save(patient.rtdose, tmp_path / "rd.dcm")
    assert main(["dvh", str(files["rs"]), str(tmp_path / "rd.dcm")]) == 3
    assert "frames of reference" in capsys.readouterr().err


def test_a_structure_in_another_frame_of_reference_is_refused_beside_others_that_fit(files, tmp_path, capsys):
    patient = small_patient()
    patient.rtstruct.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.3.4"
    save(patient.rtstruct, tmp_path / "rs.dcm")
    arguments = ["dvh", str(tmp_path / "rs.dcm"), str(files["rd"])]
    assert main(arguments) == 3
    assert "the dose and 'GTV' lie in different frames of reference" in capsys.readouterr().err
    assert main([*arguments, "--structure", "PTV"]) == 0
