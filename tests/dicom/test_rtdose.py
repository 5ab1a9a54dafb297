"""RTDOSE: values as stored, planes where the offsets put them, and every refusal with its code."""

from __future__ import annotations

import copy
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from rtpipeline.demo.grid import ORIENTATION_OF_POSITION, axial_grid
from rtpipeline.demo.linear_dose import LinearDose
from rtpipeline.demo.small import SmallPatient, small_patient
from rtpipeline.demo.write_rtdose import rtdose_dataset
from rtpipeline.dicom.frame_offsets import FrameOffsetError, plane_offsets
from rtpipeline.dicom.rtdose import RtDose, parse_rtdose

HALF_STEP_GY = 5e-7
"""The demo writes doses in steps of 1e-6 Gy; rounding takes at most half of one."""

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@pytest.fixture(scope="module")
def patient() -> SmallPatient:
    return small_patient(dose_spacing_xyz_mm=(8.0, 7.0, 9.0))


@pytest.fixture
def rtdose(patient: SmallPatient) -> Dataset:
    return copy.deepcopy(patient.rtdose)


def reread(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    buffer = io.BytesIO()
    ds.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(
        buffer,
        ds,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()))


def codes(found: RtDose) -> Counter[str]:
    return Counter(f.code for f in found.findings)


def check_linear(found: RtDose, dose: LinearDose, tolerance_gy: float = HALF_STEP_GY) -> None:
    """Every voxel has the dose of the place where the grid says that it lies."""
    assert found.grid is not None
    assert found.dose_gy is not None
    planes, rows, columns = found.grid.shape_zyx
    index = np.stack(np.meshgrid(np.arange(planes), np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
    expected = dose.at(found.grid.index_zyx_to_patient(index.astype(float)))
    # 1e-9: rounding of positions of some hundred mm
    assert np.abs(found.dose_gy - expected).max() <= tolerance_gy + 1e-9


def test_a_clean_dose_has_its_values_its_place_and_no_finding(rtdose, patient):
    found = parse_rtdose(reread(rtdose), "rd-01")
    check_linear(found, patient.dose)
    assert found.findings == []
    assert (found.summation_type, found.dose_type, found.units) == ("PLAN", "PHYSICAL", "GY")
    assert [p.plan_uid for p in found.plans] == [patient.rtplan.SOPInstanceUID]
    assert found.structure_set_uids == (patient.rtstruct.SOPInstanceUID,)


@pytest.mark.parametrize("position", ORIENTATION_OF_POSITION)
@pytest.mark.parametrize("descending", [False, True])
def test_a_linear_dose_is_the_same_in_every_orientation(patient, position, descending):
    grid = axial_grid(
        lower_mm=(-20.0, -30.0, 5.0), shape_xyz=(7, 5, 6), spacing_xyz_mm=(3.0, 4.0, 2.5), position=position
    )
    grid = grid.reversed_planes() if descending else grid
    ds = rtdose_dataset(patient.dose.on(grid), grid, patient.study, plan=None, structure_set=None)
    found = parse_rtdose(reread(ds))
    check_linear(found, patient.dose)
    steps = np.diff(found.grid.plane_offsets_mm)
    assert (steps < 0).all() if descending else (steps > 0).all()


def test_absolute_offsets_give_the_planes_of_relative_ones(patient):
    relative = parse_rtdose(reread(patient.rtdose))
    absolute = parse_rtdose(reread(small_patient(dose_spacing_xyz_mm=(8.0, 7.0, 9.0), absolute_offsets=True).rtdose))
    assert (relative.offsets_form, absolute.offsets_form) == ("relative", "absolute")
    assert relative.grid.matches(absolute.grid)
    assert np.array_equal(relative.dose_gy, absolute.dose_gy)


def test_irregular_planes_stay_where_they_are(patient):
    grid = axial_grid(lower_mm=(-20.0, -30.0, 5.0), shape_xyz=(4, 4, 5), spacing_xyz_mm=(3.0, 3.0, 2.0))
    grid = copy.copy(grid)
    object.__setattr__(grid, "plane_offsets_mm", (0.0, 2.0, 3.0, 7.5, 8.0))
    ds = rtdose_dataset(patient.dose.on(grid), grid, patient.study, plan=None, structure_set=None)
    found = parse_rtdose(reread(ds))
    check_linear(found, patient.dose)
    assert not found.grid.is_uniform


OFFSET_CASES = {
    "relative ascending": ((0, 2, 4), AXIAL, 50.0, (0, 2, 4)),
    "relative descending": ((0, -2, -4), AXIAL, 50.0, (0, -2, -4)),
    "relative irregular": ((0, 1, 4), AXIAL, 50.0, (0, 1, 4)),
    "absolute ascending": ((50, 52, 54), AXIAL, 50.0, (0, 2, 4)),
    "absolute descending": ((50, 48, 46), AXIAL, 50.0, (0, -2, -4)),
    "absolute rounded": ((50.01, 52.01, 54.01), AXIAL, 50.0, (0, 2, 4)),
    "absolute, prone: normal +z": ((50, 52, 54), (-1, 0, 0, 0, -1, 0), 50.0, (0, 2, 4)),
    "absolute at z 0 reads as relative": ((0, 2, 4), AXIAL, 0.0, (0, 2, 4)),
    "relative, feet first": ((0, 2, 4), (-1, 0, 0, 0, 1, 0), 50.0, (0, 2, 4)),
    "one frame": (None, AXIAL, 50.0, (0,)),
    "one frame with a vector of another dose": ((0, 2, 4, 6), AXIAL, 50.0, (0,)),
    "absolute, feet first: ambiguous": ((50, 52, 54), (-1, 0, 0, 0, 1, 0), 50.0, "normal"),
    "neither zero nor z": ((7, 9, 11), AXIAL, 50.0, "neither 0 nor"),
    "shuffled": ((0, 4, 2), AXIAL, 50.0, "ascend"),
    "a plane twice": ((0, 2, 2), AXIAL, 50.0, "ascend"),
    "too few": ((0, 2), AXIAL, 50.0, "2 offsets for 3"),
    "none": (None, AXIAL, 50.0, "missing"),
}


@pytest.mark.parametrize("case", OFFSET_CASES)
def test_frame_offsets_are_read_as_the_standard_says(case):
    vector, orientation, z, expected = OFFSET_CASES[case]
    frames = 1 if case.startswith("one frame") else 3
    if isinstance(expected, str):
        with pytest.raises(FrameOffsetError, match=expected):
            plane_offsets(vector, orientation, (0.0, 0.0, z), frames)
    else:
        found = plane_offsets(vector, orientation, (0.0, 0.0, z), frames).offsets_mm
        assert np.allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_values_are_those_of_the_bytes_whatever_their_storage(rtdose, bits, signed, syntax):
    """Expected values come from the numbers before they were packed, with DoseGridScaling by hand."""
    rtdose.DoseGridScaling = "0.25"
    rtdose.Rows, rtdose.Columns, rtdose.NumberOfFrames = 2, 3, 2
    rtdose.GridFrameOffsetVector = [0, 5]
    numbers = np.arange(12).reshape(2, 2, 3) * 10 - (1 if signed else 0)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    packed = numbers.astype(f"{order}{'i' if signed else 'u'}{bits // 8}").tobytes()
    rtdose.BitsAllocated = rtdose.BitsStored = bits
    rtdose.HighBit, rtdose.PixelRepresentation = bits - 1, int(signed)
    rtdose.add_new(0x7FE00010, "OB" if bits == 8 else "OW", packed)
    if syntax == ExplicitVRBigEndian and bits != 8:
        rtdose[0x7FE00010].VR = "OB"  # kept as packed: the writer would swap OW itself
    found = parse_rtdose(reread(rtdose, syntax), "rd-01")
    assert np.array_equal(found.dose_gy, numbers * 0.25)
    usual = bits == 32 and not signed and syntax != ExplicitVRBigEndian
    assert codes(found) == ({} if usual else {"DOSE_COMPRESSED_BITS": 1})


def test_values_without_a_sign_that_are_called_signed_are_no_dose(rtdose):
    """40000 of 16 bits reads as -25536: a hot spot would become a cold one."""
    rtdose.DoseGridScaling = "0.001"
    rtdose.Rows, rtdose.Columns, rtdose.NumberOfFrames = 1, 2, 2
    rtdose.GridFrameOffsetVector = [0, 5]
    rtdose.BitsAllocated, rtdose.BitsStored, rtdose.HighBit, rtdose.PixelRepresentation = 16, 16, 15, 1
    rtdose.PixelData = np.array([30000, 40000, 100, 200], "<u2").tobytes()
    found = parse_rtdose(reread(rtdose), "rd-01")
    assert (found.grid, found.dose_gy) == (None, None)
    assert [(f.measured, f.severity.value) for f in found.findings if f.severity == "E"] == [
        ("values down to -25.5 Gy", "E")
    ]


def test_bits_beyond_the_stored_ones_are_not_part_of_the_value(rtdose):
    rtdose.DoseGridScaling = "1"
    rtdose.Rows, rtdose.Columns, rtdose.NumberOfFrames = 1, 2, 2
    rtdose.GridFrameOffsetVector = [0, 5]
    rtdose.BitsAllocated, rtdose.BitsStored, rtdose.HighBit = 16, 12, 11
    rtdose.PixelData = np.array([0xF001, 0x0FFF, 0x1002, 0x0000], "<u2").tobytes()
    found = parse_rtdose(reread(rtdose))
    assert found.dose_gy.ravel().tolist() == [1, 0xFFF, 2, 0]


def test_rle_compressed_values_decode(patient):
    """In 16 bits, the most that the encoder at hand writes; the decoder meets 32 bits in the file of pydicom below."""
    dose_gy = patient.dose.on(patient.dose_grid)
    ds = reread(
        rtdose_dataset(dose_gy, patient.dose_grid, patient.study, plan=None, structure_set=None,
                       bits=16, grid_scaling_gy="0.002")
    )  # fmt: skip
    plain = parse_rtdose(ds)
    check_linear(plain, patient.dose, tolerance_gy=0.001)
    ds.compress(RLELossless)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    found = parse_rtdose(pydicom.dcmread(io.BytesIO(buffer.getvalue())))
    assert np.array_equal(found.dose_gy, plain.dose_gy)
    assert codes(found) == {"DOSE_COMPRESSED_BITS": 1}


def test_compressed_values_that_do_not_decode_are_refused(patient):
    ds = reread(
        rtdose_dataset(patient.dose.on(patient.dose_grid), patient.dose_grid, patient.study, plan=None,
                       structure_set=None, bits=16, grid_scaling_gy="0.002")
    )  # fmt: skip
    ds.compress(RLELossless)
    whole = ds.PixelData
    ds.PixelData = whole[:200] + b"\x00" * (len(whole) - 200)
    found = parse_rtdose(ds, "rd-01")
    assert found.dose_gy is None
    assert codes(found)["DOSE_GRID_INCOMPLETE"] == 1
    ds.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    assert "no decoder" in next(f for f in parse_rtdose(ds).findings if f.code == "DOSE_GRID_INCOMPLETE").measured


def delete(keyword: str):
    return lambda ds: delattr(ds, keyword)


def put(**values: object):
    def change(ds: Dataset) -> None:
        for keyword, value in values.items():
            setattr(ds, keyword, value)

    return change


REFUSALS = {
    "relative": (put(DoseUnits="RELATIVE"), "DOSE_UNITS", "RELATIVE", "E"),
    "centigray by name": (put(DoseUnits="CGY"), "DOSE_UNITS", "CGY", "E"),
    "units missing": (delete("DoseUnits"), "DOSE_UNITS", "missing", "E"),
    "scaling missing": (delete("DoseGridScaling"), "DOSE_SCALING_MISSING", "missing", "E"),
    "scaling zero": (put(DoseGridScaling="0"), "DOSE_SCALING_MISSING", "0", "E"),
    "scaling absurd": (put(DoseGridScaling="1e305"), "DOSE_SCALING_MISSING", "1e+305", "E"),
    "scaling negative": (put(DoseGridScaling="-1"), "DOSE_SCALING_MISSING", "-1", "E"),
    "error dose": (put(DoseType="ERROR"), "DOSE_TYPE_EFFECTIVE", "ERROR", "E"),
    "no pixels": (delete("PixelData"), "DOSE_NO_PIXELS", "no pixel", "W"),
    "no position": (delete("ImagePositionPatient"), "DOSE_GRID_INCOMPLETE", "ImagePositionPatient", "E"),
    "no orientation": (delete("ImageOrientationPatient"), "DOSE_GRID_INCOMPLETE", "ImageOrientationPatient", "E"),
    "no spacing": (delete("PixelSpacing"), "DOSE_GRID_INCOMPLETE", "PixelSpacing", "E"),
    "spacing zero": (put(PixelSpacing=[0, 3]), "DOSE_GRID_INCOMPLETE", "spacing", "E"),
    "axes not orthogonal": (put(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "DOSE_GRID_INCOMPLETE", "product", "E"),
    "five cosines": (put(ImageOrientationPatient=[1, 0, 0, 0, 1]), "DOSE_GRID_INCOMPLETE", "5 direction", "E"),
    "rows missing": (delete("Rows"), "DOSE_GRID_INCOMPLETE", "rows", "E"),
    "12 bits allocated": (put(BitsAllocated=12), "DOSE_GRID_INCOMPLETE", "BitsAllocated", "E"),
    "representation missing": (delete("PixelRepresentation"), "DOSE_GRID_INCOMPLETE", "PixelRepresentation", "E"),
    "one plane": (put(NumberOfFrames=1), "DOSE_GRID_INCOMPLETE", "one plane", "E"),
    "offsets missing": (delete("GridFrameOffsetVector"), "DOSE_GFOV", "missing", "E"),
    "offsets shuffled": (
        lambda ds: put(GridFrameOffsetVector=[*ds.GridFrameOffsetVector[1:], 0])(ds),
        "DOSE_GFOV",
        "ascend",
        "E",
    ),
    "offset missing": (
        lambda ds: put(GridFrameOffsetVector=ds.GridFrameOffsetVector[:-1])(ds),
        "DOSE_GFOV",
        "offsets for",
        "E",
    ),
    "cut pixels": (lambda ds: put(PixelData=ds.PixelData[:-4])(ds), "DOSE_GRID_INCOMPLETE", "bytes", "E"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_no_dose_in_gray_on_a_grid_is_refused(rtdose, case):
    change, code, words, severity = REFUSALS[case]
    change(rtdose)
    found = parse_rtdose(rtdose, "rd-01")
    assert found.grid is None
    assert found.dose_gy is None
    assert codes(found) == {code: 1}
    assert words in found.findings[0].measured
    assert (found.findings[0].severity, found.findings[0].object) == (severity, "rd-01")


@pytest.mark.parametrize(("dose_type", "words"), [("EFFECTIVE", "EFFECTIVE"), (None, "missing")])
def test_a_dose_that_is_not_physical_is_kept_and_flagged(rtdose, dose_type, words):
    rtdose.DoseType = dose_type
    found = parse_rtdose(rtdose)
    assert found.dose_gy is not None
    assert codes(found) == {"DOSE_TYPE_EFFECTIVE": 1}
    assert words in found.findings[0].measured
    assert found.findings[0].severity == "W"


def test_a_reference_names_fraction_group_and_beams(patient):
    ds = rtdose_dataset(
        patient.dose.on(patient.dose_grid), patient.dose_grid, patient.study, plan=patient.rtplan,
        structure_set=None, summation="BEAM", beam_number=2,
    )  # fmt: skip
    (reference,) = parse_rtdose(reread(ds)).plans
    assert [(g.fraction_group, g.beams, g.setups) for g in reference.groups] == [(1, (2,), ())]


def dvh_item(**values: object) -> Dataset:
    item, roi = Dataset(), Dataset()
    roi.ReferencedROINumber, roi.DVHROIContributionType = 5, "INCLUDED"
    item.DVHReferencedROISequence = [roi]
    item.DVHType, item.DoseUnits, item.DoseType = "CUMULATIVE", "GY", "PHYSICAL"
    item.DVHVolumeUnits, item.DVHDoseScaling = "CM3", "1"
    # 2 cc at 0 to 10 Gy and 6 cc at 20 to 40 Gy
    item.DVHData = [10, 8, 10, 6, 20, 6]
    put(**values)(item)
    return item


def test_a_stored_histogram_becomes_a_curve_with_its_statistics(rtdose):
    rtdose.DVHSequence = [dvh_item(DVHMaximumDose="104.9")]
    (curve,) = parse_rtdose(reread(rtdose)).dvhs
    assert curve.dose.tolist() == [0, 10, 20]
    assert curve.volume.tolist() == [8, 6, 6]
    assert (curve.roi_number, curve.written_max, curve.written_min) == (5, 104.9, None)
    assert (curve.minimum, curve.maximum) == (0, 40)
    assert curve.mean == pytest.approx((2 * 5 + 6 * 30) / 8)


def test_a_differential_histogram_is_summed_from_above_and_scaled(rtdose):
    rtdose.DVHSequence = [dvh_item(DVHType="DIFFERENTIAL", DVHData=[5, 2, 5, 0, 10, 6], DVHDoseScaling="2")]
    (curve,) = parse_rtdose(reread(rtdose)).dvhs
    assert curve.dose.tolist() == [0, 10, 20]
    assert curve.volume.tolist() == [8, 6, 6]


def test_a_histogram_of_a_difference_of_structures_has_no_single_roi(rtdose):
    item = dvh_item()
    excluded = Dataset()
    excluded.ReferencedROINumber, excluded.DVHROIContributionType = 1, "EXCLUDED"
    item.DVHReferencedROISequence.append(excluded)
    rtdose.DVHSequence = [item, dvh_item(DVHData=None), dvh_item(DVHReferencedROISequence=None)]
    (curve,) = parse_rtdose(rtdose).dvhs
    assert curve.rois == ((5, "INCLUDED"), (1, "EXCLUDED"))
    assert curve.roi_number is None


def test_unreadable_histograms_do_not_cost_the_dose(rtdose):
    rtdose.add_new(0x30040050, "OB", b"no items")
    found = parse_rtdose(rtdose, "rd-01")
    assert found.dose_gy is not None
    assert (found.dvhs, codes(found), found.findings[0].severity) == ((), {"FILE_TRUNCATED": 1}, "W")


@pytest.mark.data
@pytest.mark.parametrize("file", ["rtdose_expb.dcm", "rtdose_rle.dcm"])
def test_big_endian_and_rle_files_hold_the_values_of_the_plain_one(shared_data: Path, file: str):
    """The three are one dose in three encodings (RELATIVE there, so the units are set to be read at all)."""
    grids = []
    for name in (file, "rtdose.dcm"):
        ds = pydicom.dcmread(shared_data / "pydicom_test_files" / name)
        assert codes(parse_rtdose(ds))["DOSE_UNITS"] == 1
        ds.DoseUnits = "GY"
        grids.append(parse_rtdose(ds))
    assert np.array_equal(grids[0].dose_gy, grids[1].dose_gy)
    assert grids[0].grid.matches(grids[1].grid)


@pytest.mark.data
def test_all_eight_orientations_of_eclipse_cover_the_same_patient(shared_data: Path):
    """Headers without pixels: refused as doses. Their corners, by image position and direction cosines alone, hold the
    isocentre region of the same phantom, 200 mm long, whichever way it lies."""
    files = sorted((shared_data / "pymedphys" / "orientations").glob("RD.*.dcm"))
    assert len(files) == 16
    for file in files:
        ds = pydicom.dcmread(file)
        found = parse_rtdose(ds, "rd-01")
        assert codes(found) == {"DOSE_NO_PIXELS": 1}
        offsets = plane_offsets(
            [float(v) for v in ds.GridFrameOffsetVector],
            [float(v) for v in ds.ImageOrientationPatient],
            [float(v) for v in ds.ImagePositionPatient],
            int(ds.NumberOfFrames),
        ).offsets_mm
        assert (offsets[0], offsets[-1]) == (0.0, 200.0)
        normal_z = np.cross(ds.ImageOrientationPatient[:3], ds.ImageOrientationPatient[3:])[2]
        assert normal_z == (1 if "Dose_HF" in file.name else -1)


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "shape", "maximum_gy"),
    [
        ("brachy_hdr_prostate/DO001.dcm", (56, 80, 80), 2043.18),
        ("dicompyler-core/rtdose.dcm", (98, 129, 194), 14.680764),
        ("pymedphys/pinnacle16/1.3.46.670589.13.997910418.20181018190715.183309.dcm", (50, 90, 150), 49.87),
        ("raystation_proton_beams/RD1.2.752.243.1.1.20250523160113556.3000.73252.dcm", (110, 107, 107), 2.2102),
    ],
)
def test_real_doses_have_the_values_of_pydicom_times_the_scaling(shared_data: Path, file, shape, maximum_gy):
    ds = pydicom.dcmread(shared_data / file)
    found = parse_rtdose(ds)
    assert found.grid.shape_zyx == shape
    assert np.array_equal(found.dose_gy, ds.pixel_array * float(ds.DoseGridScaling))
    assert found.max_gy == pytest.approx(maximum_gy, rel=1e-4)


@pytest.mark.data
def test_eclipse_writes_its_dvh_statistics_in_percent_beside_a_curve_in_gray(shared_data: Path):
    """dicompyler's example, prescribed 14 Gy: the written 104.86 is percent, the curve beside it ends at 14.69 Gy.

    Curve and written values agree within one bin of 0.01 Gy, but for BODY, of which 14 % lie in the first bin.
    """
    ds = pydicom.dcmread(shared_data / "dicompyler-core" / "rtdose.dcm")
    curves = parse_rtdose(ds).dvhs
    assert len(curves) == 9
    assert curves[0].written_max == pytest.approx(104.862666666667)
    bin_gy = 0.01
    for curve in curves[1:]:
        assert abs(curve.mean - curve.written_mean * 0.14) <= bin_gy
        assert abs(curve.maximum - curve.written_max * 0.14) <= 2 * bin_gy
        assert abs(curve.minimum - curve.written_min * 0.14) <= 2 * bin_gy
