"""The stage on files: what it writes where, and that it does so again to the byte."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rtpipeline.config import parse_config
from rtpipeline.contracts.index import INDEX_SCHEMA
from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.demo.small import small_patient
from rtpipeline.errors import UsageError
from rtpipeline.execution.context import StageContext
from rtpipeline.organize.stage import Heartbeat, run
from rtpipeline.store.identity import load_or_make_secret


def context(
    tmp_path: Path, sources: list[Path], out: str = "out", config: dict[str, object] | None = None
) -> StageContext:
    private = tmp_path / "private"
    private.mkdir(exist_ok=True)
    load_or_make_secret(private)
    (tmp_path / out).mkdir(exist_ok=True)
    return StageContext(
        stage="organize",
        cohort="demo",
        config=parse_config(config or {}),
        out=tmp_path / out,
        sources=tuple(sources),
        private=private,
    )


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Two patients as files."""
    small_patient(patient_id="A").save(tmp_path / "export" / "a")
    small_patient(seed=2, patient_id="B", patient_name="Demo^Other").save(tmp_path / "export" / "b")
    return tmp_path / "export"


def test_the_stage_writes_the_manifest_outside_and_the_rest_in_private(tmp_path: Path, export: Path) -> None:
    stage = context(tmp_path, [export])
    outcome = run(stage)
    manifest = CohortManifest.load(stage.out)
    assert [c.course_kind for c in manifest.courses] == ["planned", "planned"]
    assert all(c.demo for c in manifest.courses)
    assert outcome.counts["use.used"] == outcome.counts["objects"] == len(list(export.rglob("*.dcm")))
    assert sorted(p.name for p in stage.out.iterdir()) == ["courses.json"]
    assert sorted(p.name for p in (tmp_path / "private").iterdir()) == [
        "identity.parquet",
        "index.parquet",
        "registry.json",
        "secret",
    ]


def test_a_courses_rows_are_read_from_the_index_by_a_filter(tmp_path: Path, export: Path) -> None:
    stage = context(tmp_path, [export])
    run(stage)
    manifest = CohortManifest.load(stage.out)
    path = tmp_path / "private" / "index.parquet"
    assert pq.read_schema(path).equals(INDEX_SCHEMA)
    for course in manifest.courses:
        rows = pq.read_table(path, filters=[("course_id", "=", course.course_id)]).to_pylist()
        planning = course.planning_image
        assert planning is not None
        assert sum(r["object_id"] == planning.image_id for r in rows) == planning.instances
        assert len({r["patient_key"] for r in rows}) == 1
    ids = pq.read_table(path)["course_id"].to_pylist()
    assert ids == sorted(ids)


def test_the_identity_table_leads_back_to_patients_and_files(tmp_path: Path, export: Path) -> None:
    stage = context(tmp_path, [export])
    run(stage)
    rows = pq.read_table(tmp_path / "private" / "identity.parquet").to_pylist()
    assert {r["patient_key"] for r in rows} == {"A", "B"}
    assert all((export / r["path"]).is_file() for r in rows)
    text = (stage.out / "courses.json").read_text()
    assert not any(r["original_uid"] in text for r in rows)


def test_running_again_gives_the_same_bytes(tmp_path: Path, export: Path) -> None:
    first, second = context(tmp_path, [export], "one"), context(tmp_path, [export], "two")
    run(first)
    registry = (tmp_path / "private" / "registry.json").read_bytes()
    index = (tmp_path / "private" / "index.parquet").read_bytes()
    run(second)
    assert (first.out / "courses.json").read_bytes() == (second.out / "courses.json").read_bytes()
    assert (tmp_path / "private" / "registry.json").read_bytes() == registry
    assert (tmp_path / "private" / "index.parquet").read_bytes() == index


def test_the_order_of_sources_and_the_names_of_files_change_no_byte(tmp_path: Path, export: Path) -> None:
    first = context(tmp_path, [export / "a", export / "b"], "one")
    run(first)
    for number, path in enumerate(sorted((export / "a").iterdir(), reverse=True)):
        path.rename(export / "a" / f"{number:04d}.bin")
    second = context(tmp_path, [export / "b", export / "a"], "two")
    run(second)
    assert (first.out / "courses.json").read_bytes() == (second.out / "courses.json").read_bytes()


def test_a_copy_of_the_export_changes_no_course(tmp_path: Path, export: Path) -> None:
    first = context(tmp_path, [export], "one")
    run(first)
    small_patient(patient_id="A").save(tmp_path / "copy")
    second = context(tmp_path, [export, tmp_path / "copy"], "two")
    outcome = run(second)
    before, after = CohortManifest.load(first.out), CohortManifest.load(second.out)
    assert after.courses == before.courses
    assert outcome.counts["use.duplicate"] == len(list((tmp_path / "copy").iterdir()))


def test_the_users_manifest_is_read_from_the_configuration(tmp_path: Path, export: Path) -> None:
    (tmp_path / "manifest.csv").write_text("patient_id,include\nA,no\n")
    stage = context(tmp_path, [export], config={"manifest": str(tmp_path / "manifest.csv")})
    run(stage)
    manifest = CohortManifest.load(stage.out)
    assert sorted(c.status for c in manifest.courses) == ["excluded", "ok"]


def test_findings_are_reported_with_their_course(tmp_path: Path) -> None:
    patient = small_patient()
    assert patient.rtplan is not None
    patient.rtplan.ApprovalStatus = "REJECTED"
    patient.save(tmp_path / "export")
    stage = context(tmp_path, [tmp_path / "export"])
    run(stage)
    (course,) = CohortManifest.load(stage.out).courses
    (finding,) = [f for f in stage.findings if f.code == "PLAN_STATUS"]
    assert (finding.course_id, finding.patient_id, finding.stage) == (course.course_id, course.patient_id, "organize")


def test_outputs_of_the_cohort_inside_the_export_are_not_read_back(tmp_path: Path, export: Path) -> None:
    cohort = export / "store" / "demo"
    small_patient(seed=3, patient_id="C").save(cohort / "courses")
    (cohort / "private").mkdir(parents=True)
    (cohort / "private" / "secret").write_text("0" * 64)
    stage = replace(context(tmp_path, [export]), private=cohort / "private")
    run(stage)
    assert len(CohortManifest.load(stage.out).patients) == 2


def test_a_heartbeat_tells_how_far_reading_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        Heartbeat(every_s=0.0)(3, 10)
        Heartbeat(every_s=60.0)(4, 10)
    assert caplog.messages == ["organize: 3 of 10 files read"]


def test_a_folder_without_dicom_is_an_empty_cohort(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "notes.txt").write_text("nothing here")
    stage = context(tmp_path, [tmp_path / "export"])
    outcome = run(stage)
    assert outcome.reason == "no DICOM object in the sources"
    assert json.loads((stage.out / "courses.json").read_text())["courses"] == []


def test_the_stage_needs_a_source_and_a_private_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--input"):
        run(context(tmp_path, []))
