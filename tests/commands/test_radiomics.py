"""`rtpipeline radiomics` against PyRadiomics called directly."""

from __future__ import annotations

import csv
import json
import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import SimpleITK as sitk  # noqa: N813 - the name its manual uses
from radiomics.featureextractor import RadiomicsFeatureExtractor

from rtpipeline.cli import main
from rtpipeline.radiomics.profiles import PARAMETERS
from tests.radiomics.phantoms import Phantom, phantom

SAME = 1e-9
"""relative, see tests/radiomics/test_extract.py"""


@pytest.fixture(scope="module")
def p() -> Phantom:
    return phantom(shape_zyx=(20, 72, 72))


@pytest.fixture(scope="module", params=["nii.gz", "nrrd", "mha"])
def files(p: Phantom, request, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("loose")
    paths = (folder / f"image.{request.param}", folder / f"mask.{request.param}")
    for image, path in zip((p.image, p.mask * 3), paths, strict=True):
        sitk.WriteImage(image, str(path))
    return paths


@pytest.fixture
def nrrd(p: Phantom, tmp_path: Path) -> tuple[Path, Path]:
    for image, name in ((p.image, "image"), (p.mask, "mask")):
        sitk.WriteImage(image, str(tmp_path / f"{name}.nrrd"))
    return tmp_path / "image.nrrd", tmp_path / "mask.nrrd"


def refused(capsys, *arguments: object) -> str:
    assert main(["radiomics", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_the_row_equals_the_library_on_the_same_files(files, capsys) -> None:
    assert main(["radiomics", *map(str, files), "--label", "3", "--profile", "seed-ct", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["image"], row["mask"]) == tuple(path.name for path in files)
    assert (row["label"], row["profile"], row["status"]) == (3, "seed-ct", "ok")
    extractor = RadiomicsFeatureExtractor(str(PARAMETERS / "seed-ct.yaml"), additionalInfo=False)
    image = sitk.Cast(sitk.ReadImage(str(files[0])), sitk.sitkFloat64)
    expected = extractor.execute(image, sitk.ReadImage(str(files[1])), label=3)
    assert len(expected) == 1223 and expected.keys() <= row.keys()
    for name, value in expected.items():
        assert row[name] == pytest.approx(float(value), rel=SAME), name


def test_a_parameter_file_says_what_to_compute(nrrd, tmp_path: Path, capsys) -> None:
    (tmp_path / "mine.yaml").write_text("featureClass: {firstorder: [Mean]}\nsetting: {minimumROISize: 1}\n")
    assert main(["radiomics", *map(str, nrrd), "--profile", str(tmp_path / "mine.yaml"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    image, mask = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in nrrd)
    assert row["profile"] == "mine"
    assert row["original_firstorder_Mean"] == pytest.approx(image[mask == 1].mean(), rel=SAME)


def test_one_row_is_written_or_shown(nrrd, tmp_path: Path, capsys) -> None:
    for name in ("row.csv", "row.parquet"):
        assert main(["radiomics", *map(str, nrrd), "--profile", "original", "--out", str(tmp_path / name)]) == 0
    with (tmp_path / "row.csv").open() as file:
        (by_csv,) = csv.DictReader(file)
    (by_parquet,) = pq.read_table(tmp_path / "row.parquet").to_pylist()
    assert float(by_csv["original_glcm_Contrast"]) == by_parquet["original_glcm_Contrast"]
    assert main(["radiomics", *map(str, nrrd), "--profile", "original"]) == 0
    assert "original_glcm_Contrast" in capsys.readouterr().out


def test_a_mask_that_gets_no_features_is_a_row_with_the_reason(p, nrrd, capsys) -> None:
    mask = np.zeros_like(p.mask_zyx, np.uint8)
    mask[10, 30, 30] = 1
    sitk.WriteImage(p.frame.image(mask), str(nrrd[1]))
    assert main(["radiomics", *map(str, nrrd), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["status"] in ("too_small", "one_dimensional") and row["reason"]
    assert not [name for name in row if name.startswith("original_")]


def test_a_label_that_is_absent_is_answered_with_those_there_are(p, nrrd, capsys) -> None:
    assert "no voxel has label 2; it has 1" in refused(capsys, *nrrd, "--label", 2)
    assert "outside of a mask" in refused(capsys, *nrrd, "--label", 0)
    sitk.WriteImage(p.mask * 0, str(nrrd[1]))
    assert "it is empty" in refused(capsys, *nrrd)


def test_other_grids_are_refused(p, nrrd, capsys) -> None:
    moved = p.mask
    moved.SetOrigin([v + 0.01 for v in moved.GetOrigin()])
    sitk.WriteImage(moved, str(nrrd[1]))
    assert "up to 0.0173 mm apart" in refused(capsys, *nrrd)
    sitk.WriteImage(p.mask[:, :, 1:], str(nrrd[1]))
    assert "need one grid" in refused(capsys, *nrrd)


def test_a_grid_within_the_tolerance_is_the_same_grid(p, nrrd, capsys) -> None:
    moved = p.mask
    moved.SetOrigin([v + 1e-5 for v in moved.GetOrigin()])
    sitk.WriteImage(moved, str(nrrd[1]))
    assert main(["radiomics", *map(str, nrrd), "--profile", "original", "--json"]) == 0


def test_what_is_no_image_of_three_dimensions_is_refused(p, nrrd, tmp_path: Path, capsys) -> None:
    four = sitk.JoinSeries([p.image, p.image])
    sitk.WriteImage(four, str(tmp_path / "four.nrrd"))
    assert "need three dimensions" in refused(capsys, tmp_path / "four.nrrd", nrrd[1])
    vector = sitk.Compose(p.image, p.image)
    sitk.WriteImage(vector, str(tmp_path / "vector.nrrd"))
    assert "2 values a voxel" in refused(capsys, tmp_path / "vector.nrrd", nrrd[1])
    assert "is not a file" in refused(capsys, tmp_path, nrrd[1])
    assert "is not a file" in refused(capsys, tmp_path / "absent.nii", nrrd[1])
    (tmp_path / "text.nii").write_text("no image")
    assert "cannot be read" in refused(capsys, tmp_path / "text.nii", nrrd[1])
    holes = p.values_zyx.astype(np.float32)
    holes[0, 0, :5] = np.nan
    sitk.WriteImage(p.frame.image(holes), str(tmp_path / "holes.nrrd"))
    assert "5 voxels are not finite" in refused(capsys, tmp_path / "holes.nrrd", nrrd[1])


def test_axes_that_are_not_at_right_angles_are_named(p, nrrd, tmp_path: Path, capsys) -> None:
    path = tmp_path / "sheared.nii"
    sitk.WriteImage(p.image, str(path))
    header = bytearray(path.read_bytes())
    struct.pack_into("<hh", header, 252, 0, 1)  # qform_code, sform_code
    struct.pack_into("<12f", header, 280, 1.25, 0, 0.5, 0, 0, 1.25, 0, 0, 0, 0, 2.5, 0)
    path.write_bytes(header)
    assert "not at right angles" in refused(capsys, path, nrrd[1])


def test_complex_numbers_are_refused(p, nrrd, tmp_path: Path, capsys) -> None:
    real = sitk.Cast(p.image, sitk.sitkFloat32)
    sitk.WriteImage(sitk.RealAndImaginaryToComplex(real, real), str(tmp_path / "complex.nii"))
    assert "complex numbers" in refused(capsys, tmp_path / "complex.nii", nrrd[1])


def test_wrong_options_are_refused_before_anything_is_read(tmp_path: Path, capsys) -> None:
    assert "need a name that ends" in refused(capsys, "a", "b", "--out", "c.xlsx")
    assert "there is no folder absent" in refused(capsys, "a", "b", "--out", "absent/c.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in refused(capsys, "a", "b", "--out", tmp_path / "folder.csv")
    assert "neither a name nor a file" in refused(capsys, "a", "b", "--profile", "absent")
