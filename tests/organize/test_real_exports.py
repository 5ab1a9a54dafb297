"""Organize on the shared sets of real exports, against what is known of each set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rtpipeline.contracts.manifests import Course
from rtpipeline.dicom.duplicates import resolve
from rtpipeline.dicom.scan import scan
from rtpipeline.organize.cohort import OrganizeResult, organize

from .rows import SECRET, codes

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def pooled(shared_data: Path) -> OrganizeResult:
    """All sets thrown together, as one export."""
    scanned = scan([shared_data], workers=1, secret=SECRET)
    use, _ = resolve(scanned.table, scanned.opener, SECRET)
    return organize(scanned.table, cohort="pooled", secret=SECRET, use=use)


def courses_of(found: OrganizeResult, folder: str) -> list[Course]:
    """Courses with an object from below a folder."""
    ids = {r["course_id"] for r in found.index.to_pylist() if r["path"].startswith(folder) and r["course_id"]}
    return [c for c in found.manifest.courses if c.course_id in ids]


@pytest.mark.parametrize(
    ("folder", "kinds"),
    [
        ("brachy_hdr_prostate", ["planned"]),
        ("brachy_ldr_phantom", ["planned"]),
        ("brachy_pytg43", ["planned", "planned"]),
        ("dcpt_headphantom", ["plan_only", "structures_only"]),
        ("dicompyler-core", ["planned"]),
        ("eclipse8_rando", ["planned", "planned"]),
        ("eclipse_phantom_registered", ["planned"]),
        ("mirp_sts", ["structures_only"] * 3),
        ("nelms_dvh_phantom", ["structures_only"]),
        ("onkodicom_reg", ["other"]),
        ("opentps", ["images_only"] * 3 + ["plan_only", "structures_only"]),
        ("plan_study_2018", ["plan_only", "planned", "planned"]),
        ("pydicom_test_files", ["plan_only", "structures_only"]),
        ("pymedphys", ["dose_only", "dose_only"] + ["planned"] * 4),
        ("raystation_proton_beams", ["planned"]),
        ("rt-utils", ["images_only", "structures_only"]),
    ],
)
def test_kinds_of_courses_in_each_set(pooled: OrganizeResult, folder: str, kinds: list[str]) -> None:
    assert sorted(c.course_kind for c in courses_of(pooled, folder)) == kinds


def test_every_object_of_the_pool_is_accounted_for(pooled: OrganizeResult) -> None:
    counts = pooled.manifest.counts
    assert counts["objects"] == pooled.index.num_rows
    assert sum(n for name, n in counts.items() if name.startswith("use.")) == counts["objects"]
    assert all(r["use"] == "used" or r["reason"] for r in pooled.index.to_pylist())


def test_three_public_sets_that_share_an_id_are_three_patients(pooled: OrganizeResult) -> None:
    rows = [r for r in pooled.index.to_pylist() if r["patient_key"] == "123456" and r["patient_id"]]
    folders = {(r["path"].split("/")[0], r["patient_id"]) for r in rows}
    assert len({p for _, p in folders}) == len({f for f, _ in folders}) == 3


def test_objects_of_one_plan_under_two_patient_ids_are_excluded(pooled: OrganizeResult) -> None:
    (course,) = courses_of(pooled, "raystation_proton_beams")
    assert (course.status, course.excluded_by) == ("excluded", ["PATIENT_MISMATCH"])
    assert sum(c.status == "excluded" for c in pooled.manifest.courses) == 1


def test_four_cts_under_one_series_uid_keep_their_own_structure_sets(pooled: OrganizeResult) -> None:
    (course,) = courses_of(pooled, "nelms_dvh_phantom")
    instances = {i.image_id: i.instances for i in course.images}
    assert sorted(instances.values()) == [20, 30, 60, 300]
    sets = Counter(instances[s.image_id] for s in course.structure_sets if s.image_id)
    assert sets == {20: 15, 30: 15, 60: 15, 300: 5}
    assert pooled.manifest.counts["kind.rtdose.conflict"] >= 6


def test_the_two_encodings_of_the_registered_phantoms_are_one_course(pooled: OrganizeResult) -> None:
    (course,) = courses_of(pooled, "eclipse_phantom_registered")
    assert [(i.instances, i.role) for i in course.images] == [(11, "planning"), (101, "secondary")]
    assert (len(course.plans), len(course.doses), len(course.structure_sets)) == (3, 3, 2)
    assert all(len(d.plan_ids) == 1 for d in course.doses)
    assert [o.kind for o in course.others] == ["reg"]


def test_the_sets_of_ct_pet_and_mr_are_told_apart_by_their_slices(pooled: OrganizeResult) -> None:
    """Their images were cropped and renumbered, so that no reference leads anywhere; one of nine stays undecided."""
    bound: Counter[str] = Counter()
    for course in courses_of(pooled, "mirp_sts"):
        assert course.planning_image is not None
        assert course.planning_image.modality == "CT"
        modality = {i.image_id: i.modality for i in course.images}
        bound.update(modality[s.image_id] if s.image_id else "none" for s in course.structure_sets)
    assert bound == {"CT": 3, "MR": 3, "PT": 2, "none": 1}


def test_the_phases_of_the_4dct_are_one_patient_without_an_id(pooled: OrganizeResult) -> None:
    (course,) = [c for c in courses_of(pooled, "opentps") if len(c.images) == 10]
    assert {i.image_class for i in course.images} == {"ct_4d_phase"}
    assert sum(i.prepare for i in course.images) == 1
    assert "I IMG_4DCT" in codes(pooled, course.course_id)


def test_rejected_and_verification_plans_are_listed_and_not_selected(pooled: OrganizeResult) -> None:
    plans = [p for c in pooled.manifest.courses for p in c.plans]
    assert sorted(p.reason for p in plans if not p.selected) == ["intent verification", "rejected"]


def test_no_name_or_uid_of_the_pool_is_public(pooled: OrganizeResult) -> None:
    public = pooled.manifest.model_dump_json() + "".join(str(f.row()) for f in pooled.findings)
    for row in pooled.index.to_pylist():
        for column in ("sop_instance_uid", "series_uid", "study_uid", "frame_uid"):
            assert len(row[column]) < 12 or row[column] not in public
        assert len(row["patient_name"]) < 4 or row["patient_name"] not in public
