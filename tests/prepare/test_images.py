"""The stage: from an export, its private index and a course to the stage's folder."""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from rtpipeline.config import Config, parse_config
from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.demo.small import SmallPatient, small_patient
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.organize.stage import run as run_organize
from rtpipeline.prepare.image_files import image_folder, load_geometry, load_values
from rtpipeline.prepare.image_table import IMAGES_SCHEMA, read_images
from rtpipeline.prepare.images import run

UID = re.compile(r"\b[0-2](?:\.(?:0|[1-9][0-9]*)){3,}\b")
ALLOWED_UIDS = ("2.25.", "1.2.840.10008.")
"""Replacements, and those of the standard itself."""


class Cohort:
    """An export in a temporary folder, organized."""

    def __init__(self, root: Path, export: Path, **config: Any) -> None:
        self.root, self.export = root, export
        self.private = root / "private"
        self.private.mkdir(parents=True)
        (self.private / "secret").write_text("0123456789abcdef0123456789abcdef\n")
        self.config: Config = parse_config(config)
        self.organized = root / "organize"
        self.organized.mkdir()
        run_organize(self.context("organize", self.organized))
        self.manifest = CohortManifest.load(self.organized)
        self.runs = 0

    def context(self, stage: str, out: Path, course_id: str | None = None) -> StageContext:
        return StageContext(
            stage,
            "demo",
            self.config,
            out,
            inputs={"organize": self.organized},
            course_id=course_id,
            sources=(self.export,),
            private=self.private,
        )

    def prepare(self, course: int = 0) -> tuple[StageOutcome, StageContext]:
        self.runs += 1
        out = self.root / f"out{self.runs}"
        out.mkdir()
        context = self.context("prepare_images", out, self.manifest.courses[course].course_id)
        return run(context), context


@pytest.fixture
def cohort(tmp_path: Path) -> Callable[..., Cohort]:
    """`cohort(patient)`: the small patient's export, organized."""

    def make(patient: SmallPatient | None = None, export: Path | None = None, **config: Any) -> Cohort:
        folder = export or (patient or small_patient()).save(tmp_path / "export")
        return Cohort(tmp_path / "work", folder, **config)

    return make


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_planning_image_of_a_patient_is_prepared(cohort: Callable[..., Cohort]) -> None:
    patient = small_patient()
    outcome, context = cohort(patient).prepare()
    assert (outcome.status, outcome.counts) == ("done", {"images": 1, "prepared": 1, "refused": 0})
    assert context.findings == []
    folder = image_folder(context.out, "ct-01")
    assert np.array_equal(load_values(folder), patient.image.values)
    expected = patient.image.geometry
    assert load_geometry(folder).planes.plane_origins_xyz_mm == pytest.approx(expected.plane_positions_mm(), abs=1e-3)
    assert pq.read_schema(context.out / "images.parquet").equals(IMAGES_SCHEMA)


def test_running_again_gives_the_same_bytes_and_renaming_the_files_does_too(
    cohort: Callable[..., Cohort], tmp_path: Path
) -> None:
    made = cohort()
    first = contents(made.prepare()[1].out)
    assert contents(made.prepare()[1].out) == first
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for k, file in enumerate(sorted(made.export.iterdir(), reverse=True)):
        shutil.copy(file, renamed / f"{k:03d}")
    again = Cohort(tmp_path / "other", renamed)
    assert contents(again.prepare()[1].out) == first


def test_an_archive_gives_the_same_bytes_as_a_folder(cohort: Callable[..., Cohort], tmp_path: Path) -> None:
    made = cohort()
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "export.tar.gz", "w:gz") as archive:
        for file in sorted(made.export.iterdir(), reverse=True):
            archive.add(file, f"some/folder/{file.name}")
    other = Cohort(tmp_path / "other", packed)
    assert contents(other.prepare()[1].out) == contents(made.prepare()[1].out)


def test_nothing_that_identifies_leaves_the_private_folder(cohort: Callable[..., Cohort]) -> None:
    study = {"birth_date": "19341105", "study_date": "20230607", "accession_number": "ACC4711", "study_id": "ST4711"}
    patient = small_patient(patient_id="ID-4711-X", patient_name="Secret^Name", study_fields=study)
    patient.ct[3].ImageComments = "Secret comment"
    patient.ct[3].ContrastBolusAgent = "Secret agent"
    made = cohort(patient)
    _, context = made.prepare()
    names, originals = set(), {str(ds.SOPInstanceUID) for ds in patient.ct} | {patient.study.study_uid}
    for name, content in contents(context.out).items():
        names.add(name)
        text = (gzip.decompress(content)[:352] if name.endswith(".gz") else content).decode("latin-1")
        for forbidden in ("Secret", "4711", "19341105", "20230607", "Demo Hospital", "Physician", "export", *originals):
            assert forbidden not in text, f"{forbidden} in {name}"
        assert [u for u in UID.findall(text) if not u.startswith(ALLOWED_UIDS) and u.count(".") > 3] == []
    assert "images/ct-01/template.json" in names
    assert all("Secret" not in str(f) for f in context.findings)


def test_a_slice_that_vanished_after_organize_is_named_and_filled(cohort: Callable[..., Cohort]) -> None:
    made = cohort()
    (made.export / "CT_007.dcm").unlink()
    outcome, context = made.prepare()
    assert outcome.status == "done"
    assert [f.code for f in context.findings] == ["FILE_TRUNCATED", "IMG_MISSING_SLICE"]
    assert {f.stage for f in context.findings} == {"prepare_images"}
    assert {f.course_id for f in context.findings} == {made.manifest.courses[0].course_id}


@pytest.mark.parametrize(
    ("left_out", "status"),
    [
        ((), "done"),
        (("rtdose",), "done"),
        (("rtstruct", "rtplan"), "done"),
        (("rtstruct", "rtplan", "rtdose"), "data_error"),
    ],
)
def test_a_refused_planning_image_ends_a_course_of_images_alone(
    cohort: Callable[..., Cohort], left_out: tuple[str, ...], status: str
) -> None:
    """What needs this stage is left out after a data error, and dose in structures needs no image."""
    patient = small_patient()
    del patient.ct[5:15]
    for name in left_out:
        setattr(patient, name, None)
    outcome, context = cohort(patient).prepare()
    assert outcome.status == status
    assert outcome.reason == "planning image ct-01 refused: IMG_MISSING_SLICE"
    assert [(f.code, f.severity.value) for f in context.findings] == [("IMG_MISSING_SLICE", "E")]
    assert [(r["status"], r["reason"]) for r in read_images(context.out)] == [("refused", "IMG_MISSING_SLICE")]


def test_the_gap_limit_of_the_configuration_takes_effect(cohort: Callable[..., Cohort]) -> None:
    patient = small_patient()
    del patient.ct[5:15]
    outcome, context = cohort(patient, images={"max_gap_mm": 40.0}).prepare()
    assert outcome.status == "done"
    assert [f.code for f in context.findings] == ["IMG_MISSING_SLICE"]


def test_a_single_slice_costs_no_course(cohort: Callable[..., Cohort]) -> None:
    """Dose in structures needs no image, so a planning image of one slice must not end the stage with an error."""
    patient = small_patient()
    del patient.ct[1:]
    outcome, context = cohort(patient).prepare()
    assert outcome.status == "done"
    assert [f.code for f in context.findings] == ["IMG_SINGLE_SLICE"]


def test_a_course_without_images_does_not_apply(cohort: Callable[..., Cohort]) -> None:
    patient = small_patient()
    patient.ct.clear()
    outcome, context = cohort(patient).prepare()
    assert outcome.status == "not_applicable"
    assert read_images(context.out) == []
