"""Real series, prepared from their exports and compared with the raw tags of their files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset

from rtpipeline.config import parse_config
from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.execution.context import StageContext
from rtpipeline.organize.stage import run as run_organize
from rtpipeline.prepare.image_files import image_folder, load_geometry, load_values
from rtpipeline.prepare.image_table import read_images
from rtpipeline.prepare.images import run

pytestmark = pytest.mark.data

POSITION_TOLERANCE_MM = 1e-3
"""NIfTI keeps seven digits; the files' own positions have six to twelve."""

VALUE_TOLERANCE = 1e-6
"""Relative: float32 of values that were computed in float64."""


def prepared(root: Path, export: Path) -> list[tuple[StageContext, dict[str, Any]]]:
    """Every image of every course of an export: the stage's context and the image's row."""
    private, organized = root / "private", root / "organize"
    private.mkdir()
    organized.mkdir()
    (private / "secret").write_text("0123456789abcdef0123456789abcdef\n")
    config = parse_config({"organize": {"prepare_images": "all"}})
    common: dict[str, Any] = {"sources": (export,), "private": private}
    run_organize(StageContext("organize", "real", config, organized, **common))
    rows = []
    for course in CohortManifest.load(organized).courses:
        out = root / course.course_id
        out.mkdir()
        context = StageContext(
            "prepare_images", "real", config, out, {"organize": organized}, course.course_id, **common
        )
        run(context)
        rows += [(context, row) for row in read_images(out)]
    return rows


def slices_below(folder: Path) -> Iterator[Dataset]:
    """Image objects with pixels, of plain files and tar archives, read here by a way of their own."""
    for file in sorted(folder.rglob("*")):
        if file.name.endswith(".tar.xz"):
            with tarfile.open(file) as archive:
                for member in archive:
                    content = archive.extractfile(member)
                    if content is not None:
                        yield pydicom.dcmread(io.BytesIO(content.read()), force=True)
        elif file.suffix.lower() == ".dcm":
            yield pydicom.dcmread(file, force=True)


def check_against_files(context: StageContext, row: dict[str, Any], datasets: list[Dataset]) -> None:
    """Every stored pixel of some slices is found at its own position by ITK."""
    folder = image_folder(context.out, row["image_id"])
    volume = SimpleITK.ReadImage(str(folder / "image.nii.gz"))
    values = load_values(folder)
    assert len(datasets) == row["planes"]
    for ds in datasets[:: max(1, len(datasets) // 7)]:
        iop, ipp = np.array(ds.ImageOrientationPatient, float), np.array(ds.ImagePositionPatient, float)
        between_rows, between_columns = (float(v) for v in ds.PixelSpacing)
        stored = ds.pixel_array * float(ds.get("RescaleSlope") or 1) + float(ds.get("RescaleIntercept") or 0)
        for r, c in ((0, 0), (ds.Rows - 1, ds.Columns - 1), (ds.Rows // 2, ds.Columns // 3)):
            point = ipp + c * between_columns * iop[:3] + r * between_rows * iop[3:]
            index = volume.TransformPhysicalPointToIndex([float(v) for v in point])
            assert volume.TransformIndexToPhysicalPoint(index) == pytest.approx(point, abs=POSITION_TOLERANCE_MM)
            assert volume.GetPixel(index) == pytest.approx(max(stored[r, c], values.min()), rel=VALUE_TOLERANCE)
            plane = values[index[2]]
        assert np.allclose(plane, np.maximum(stored, values.min()), rtol=VALUE_TOLERANCE, atol=1e-4)


@pytest.mark.parametrize("patient", ["STS_001", "STS_002", "STS_003"])
def test_ct_pet_and_mr_of_one_patient(shared_data: Path, tmp_path: Path, patient: str) -> None:
    """The MR of STS_003 is feet first with the cosines of a head-first image: nothing may be flipped."""
    export = shared_data / "mirp_sts" / patient
    found = prepared(tmp_path, export)
    assert {row["modality"]: (row["status"], row["units"]) for _, row in found} == {
        "CT": ("ok", "HU"),
        "PT": ("ok", "GML"),
        "MR": ("ok", "arbitrary"),
    }
    folders = {"CT": "CT", "PT": "PET", "MR": "MR_T1"}
    for context, row in found:
        assert [f.code for f in context.findings] == ["IMG_TRUNCATED_FOV"]  # the public files are cropped
        datasets = [pydicom.dcmread(f) for f in sorted((export / folders[row["modality"]] / "image").iterdir())]
        check_against_files(context, row, datasets)


def test_an_oblique_series_of_unknown_units(shared_data: Path, tmp_path: Path) -> None:
    export = shared_data / "rt-utils" / "oriented_data"
    ((context, row),) = prepared(tmp_path, export)
    assert {f.code for f in context.findings} == {"IMG_OBLIQUE", "IMG_RESCALE"}
    assert (row["plane_class"], row["units"], row["hu_status"]) == ("oblique", "stored", "missing_rescale")
    check_against_files(context, row, list(slices_below(export)))


@pytest.mark.parametrize("name", ["brachy_ldr_phantom", "dcpt_headphantom", "pymedphys/water_phantom"])
def test_phantoms_of_several_vendors(shared_data: Path, tmp_path: Path, name: str) -> None:
    export = shared_data / name
    found = prepared(tmp_path, export)
    assert [row["status"] for _, row in found] == ["ok"]
    context, row = found[0]
    datasets = [ds for ds in slices_below(export) if ds.get("Modality") == "CT"]
    check_against_files(context, row, datasets)
    assert row["content_sha256"]


def test_phases_of_a_4dct_lie_on_one_grid(shared_data: Path, tmp_path: Path) -> None:
    export = tmp_path / "export"
    export.mkdir()
    (export / "4DCT.tar.xz").symlink_to(shared_data / "opentps" / "4DCT.tar.xz")
    found = prepared(tmp_path, export)
    assert [row["status"] for _, row in found] == ["ok"] * 10
    grids = [load_geometry(image_folder(context.out, row["image_id"])).voxel for context, row in found]
    assert all(grid == grids[0] for grid in grids)
    assert len({row["content_sha256"] for _, row in found}) == 10
