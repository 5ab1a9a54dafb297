"""What a network leaves behind is one thing in four forms: label map, SEG, RTSTRUCT and rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from rtpipeline.config import Config
from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.contracts.tables import SEGMENTATION
from rtpipeline.demo.small import CENTRE_MM, small_patient
from rtpipeline.dicom.derived import FOR_PHANTOMS
from rtpipeline.dicom.rtstruct import parse_rtstruct
from rtpipeline.execution.context import StageContext
from rtpipeline.geometry.rasterize import solid_mask
from rtpipeline.geometry.solid import PrismSolid
from rtpipeline.prepare.image_files import image_folder, load_geometry, load_values
from rtpipeline.segmentation.label_map import LabelMap, label_map_folder, read_label_maps
from rtpipeline.segmentation.outputs import RTSTRUCT, SEG, write_outputs
from tests.synthetic.pipeline import Chain, run_chain

NAMES = {1: "liver", 2: "kidney_left", 9: "not_of_any_table", 12: "spleen"}


@pytest.fixture(scope="module", params=["HFS", "FFS", "HFP"])
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    root = tmp_path_factory.mktemp(request.param)
    source = small_patient(position=request.param, patient_name="Secret^Person").save(root / "export")
    return run_chain(source, root / "work", stages=["prepare_images"])


def context_of(chain: Chain, out: Path) -> StageContext:
    course = chain.course.course_id
    inputs = {"organize": chain.root / "organize", "prepare_images": chain.folder(course, "prepare_images")}
    return StageContext("segmentation", "test", Config(), out, inputs, course_id=course, stage_key="key-1")


def label_map_of(chain: Chain) -> LabelMap:
    """The GTV as a liver, ragged pieces as the others, and no spleen."""
    assert CohortManifest.load(chain.root / "organize").courses
    folder = image_folder(chain.folder(chain.course.course_id, "prepare_images"), "ct-01")
    grid, hu = load_geometry(folder).voxel, load_values(folder)
    values = np.zeros(grid.shape_zyx, np.uint8)
    values[(hu > 40) & (hu < 90)] = 1
    ragged = np.random.default_rng(4).random((3, 8, 8)) < 0.6
    values[4:7, 3:11, 25:33][ragged] = 2
    values[0:3, 3:11, 25:33][ragged] = 9
    return LabelMap("ct-01", "totalsegmentator", "total", values, grid, NAMES, 6.0, True, {"a": "b"}, "cpu")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_all_forms_have_the_same_masks(prepared: Chain, out: Path) -> None:
    made, context = label_map_of(prepared), context_of(prepared, out)
    images = context.input("prepare_images")
    rows = write_outputs(out, made, images, context)
    (read,) = read_label_maps(out, images)
    assert np.array_equal(read.values, made.values)
    folder = label_map_folder(out, "ct-01", "total")
    seg = highdicom.seg.segread(folder / SEG)
    structures = parse_rtstruct(pydicom.dcmread(folder / RTSTRUCT))
    volume = seg.get_volume(combine_segments=False)
    assert [r.roi_number for r in structures.rois] == [1, 2, 9]
    for position, label in enumerate((1, 2, 9)):
        mask = made.mask(label)
        at = np.argwhere(volume.array[..., position]) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        again = np.zeros_like(mask)
        again[tuple(np.rint(made.grid.patient_to_index_zyx(at)).astype(int).T)] = True
        assert np.array_equal(again, mask)
        contours = structures.contours_of(label)
        solid = PrismSolid.from_contours(contours, single_plane_thickness_mm=made.grid.plane_spacing_mm)
        assert np.array_equal(solid_mask(solid, made.grid), mask)
        assert {r["label"]: r["voxels"] for r in rows}[label] == int(mask.sum())


def test_rows_have_every_key_and_are_the_declared_table(prepared: Chain, out: Path) -> None:
    context = context_of(prepared, out)
    rows = write_outputs(out, label_map_of(prepared), context.input("prepare_images"), context)
    by_name = {row["structure_name"]: row for row in rows}
    status = {name: row["status"] for name, row in by_name.items()}
    assert status == {"liver": "ok", "kidney_left": "ok", "not_of_any_table": "cut_off", "spleen": "not_found"}
    assert {(row["stage_key"], row["modality"], row["cohort"]) for row in rows} == {("key-1", "CT", "test")}
    # no structure has its partner, so the body in the image says where its middle is
    swapped = by_name["kidney_left"]["centroid_x_mm"] < CENTRE_MM[0] - 10
    assert by_name["kidney_left"]["laterality"] == ("swapped" if swapped else "ok")
    written = SEGMENTATION.frame(rows)
    SEGMENTATION.write(written, out / "segmentation.parquet")
    assert len(SEGMENTATION.read(out / "segmentation.parquet")) == 4


def test_the_objects_say_whose_they_are_and_hold_no_name(prepared: Chain, out: Path) -> None:
    context = context_of(prepared, out)
    write_outputs(out, label_map_of(prepared), context.input("prepare_images"), context)
    folder = label_map_folder(out, "ct-01", "total")
    for name in (SEG, RTSTRUCT):
        ds = pydicom.dcmread(folder / name)
        assert "Secret" not in str(ds) and "DEMO-900" not in str(ds)
        assert ds.PatientID == prepared.course.patient_id
        assert ds.SeriesDescription.startswith("RTpipeline TotalSegmentator total")
        assert ds.SeriesDescription.endswith(FOR_PHANTOMS)
    kinds = {
        s.SegmentLabel: s.SegmentedPropertyTypeCodeSequence[0].CodeMeaning
        for s in pydicom.dcmread(folder / SEG).SegmentSequence
    }
    assert kinds == {"liver": "Liver", "kidney_left": "Kidney", "not_of_any_table": "Tissue"}


def test_the_same_map_gives_the_same_bytes(prepared: Chain, tmp_path: Path) -> None:
    folders = []
    for name in ("a", "b"):
        context = context_of(prepared, tmp_path / name)
        write_outputs(tmp_path / name, label_map_of(prepared), context.input("prepare_images"), context)
        folders.append(label_map_folder(tmp_path / name, "ct-01", "total"))
    names = sorted(p.name for p in folders[0].iterdir())
    assert names == sorted(p.name for p in folders[1].iterdir())
    assert {SEG, RTSTRUCT} < set(names)
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_a_map_without_structures_has_rows_and_no_dicom_objects(prepared: Chain, out: Path) -> None:
    context, made = context_of(prepared, out), label_map_of(prepared)
    empty = dataclasses.replace(made, values=np.zeros_like(made.values))
    rows = write_outputs(out, empty, context.input("prepare_images"), context)
    assert [r["status"] for r in rows] == ["not_found"] * 4
    folder = label_map_folder(out, "ct-01", "total")
    assert sorted(p.name for p in folder.iterdir()) == ["label_map.nii.gz", "labels.json"]
