"""Laws of organize as a whole: nothing is lost, file order counts for nothing, late objects change what they must."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpipeline.contracts.index import INDEX_SCHEMA
from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.organize.user_manifest import user_row

from .rows import MR, PT, Export, codes, uid


def mixed_export() -> Export:
    """Several patients: a treatment with everything, structure sets only, images only, dose only, refused objects."""
    export = Export()
    whole = export.course()
    export.image("mr", sop_class=MR, days=-3)
    export.registration([whole["ct"].frame, uid("frame", "mr", "study 1")])
    export.record(whole["plan"])
    export.row("rtimage", uid("drr"), facts=json.dumps({"plan_uids": [whole["plan"]]}))
    export.patient, export.name, export.study = "PAT2", "Roe^Richard", "study 2"
    export.structure_set(export.ct())
    export.patient, export.name, export.study = "PAT3", "Poe^Anna", "study 3"
    export.ct(slices=5)
    export.ct("pet", sop_class=PT, slices=7)
    export.patient, export.name, export.study = "PAT4", "Loe^Tim", "study 4"
    export.dose(uid("an absent plan"))
    export.patient, export.name, export.study = "PAT5", "Zoe^Kim", "study 5"
    export.row("other", uid("screenshot"))
    export.row("rtdose", "", facts="{}")
    return export


def public_bytes(found: object) -> str:
    return found.manifest.model_dump_json(indent=1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_rows_changes_no_byte(seed: int) -> None:
    export = mixed_export()
    plain, shuffled = export.organize(), export.organize(shuffle=seed)
    assert public_bytes(shuffled) == public_bytes(plain)
    assert shuffled.registry == plain.registry
    assert shuffled.index.equals(plain.index)
    assert [f.row() for f in shuffled.findings] == [f.row() for f in plain.findings]


def test_paths_and_file_times_change_no_byte_of_courses_json() -> None:
    export = mixed_export()
    before = public_bytes(export.organize())
    for number, row in enumerate(export.rows):
        row.update(path=f"z/{len(export.rows) - number}", mtime_ns=number, source=number % 2)
    assert public_bytes(export.organize()) == before


def test_every_row_ends_with_a_use_and_the_counts_add_up() -> None:
    export = mixed_export()
    export.rows.append(dict(export.rows[0], path="copy.dcm"))
    use = ["used"] * len(export.rows)
    use[-1], use[-2] = "duplicate", "quarantined"
    found = export.organize(use=use)
    index, counts = found.index.to_pylist(), found.manifest.counts
    assert found.index.schema == INDEX_SCHEMA
    assert len(index) == counts["objects"] == len(export.rows)
    assert sum(n for name, n in counts.items() if name.startswith("use.")) == len(export.rows)
    assert sum(n for name, n in counts.items() if name.startswith("kind.")) == len(export.rows)
    assert Counter(r["path"] for r in index) == Counter(r["path"] for r in export.rows)
    for row in index:
        assert row["use"] in ("used", "duplicate", "conflict", "quarantined", "not_used")
        assert row["use"] == "used" or row["reason"]
        assert row["use"] != "used" or (row["patient_id"] and row["course_id"] and row["object_id"])


def test_used_rows_are_the_instances_of_the_manifest() -> None:
    found = mixed_export().organize()
    rows = Counter((r["course_id"], r["object_id"]) for r in found.index.to_pylist() if r["use"] == "used")
    listed = {}
    for course in found.manifest.courses:
        listed |= {(course.course_id, i.image_id): i.instances for i in course.images}
        listed |= {(course.course_id, s.structure_set_id): 1 for s in course.structure_sets}
        listed |= {(course.course_id, p.plan_id): 1 for p in course.plans}
        listed |= {(course.course_id, d.rtdose_id): 1 for d in course.doses}
        listed |= {(course.course_id, o.object_id): 1 for o in course.others if o.kind in ("reg", "rtrecord")}
    assert dict(rows) == listed


def test_every_patient_is_listed_with_what_there_is() -> None:
    found = mixed_export().organize()
    kinds = sorted((p.kind, p.status) for p in found.manifest.patients)
    assert kinds == [
        ("dose_only", "ok"),
        ("images_only", "ok"),
        ("nothing_usable", "nothing_usable"),
        ("planned", "ok"),
        ("structures_only", "ok"),
    ]


def test_nothing_that_identifies_leaves_the_private_files() -> None:
    export = mixed_export()
    found = export.organize()
    public = public_bytes(found) + "".join(str(f.row()) for f in found.findings)
    for row in export.rows:
        for secret in ("patient_key", "patient_name", "birth_date", "sop_instance_uid", "series_uid", "date", "path"):
            assert not row[secret] or row[secret] not in public
    back = {r["patient_id"]: r["patient_key"] for r in found.identity}
    assert {"PAT1", "PAT2", "PAT3", "PAT4"} == set(back.values())


def test_the_manifest_survives_the_file(tmp_path: object) -> None:
    found = mixed_export().organize()
    found.manifest.save(tmp_path)  # type: ignore[arg-type]
    assert CohortManifest.load(tmp_path) == found.manifest  # type: ignore[arg-type]


def test_a_late_treatment_record_changes_the_course_digest_and_no_image_digest() -> None:
    export = Export()
    plan = export.course()["plan"]
    first = export.organize()
    export.record(plan)
    second = export.organize(registry=first.registry)
    (before,), (after,) = first.manifest.courses, second.manifest.courses
    assert after.course_id == before.course_id
    assert after.image_digest == before.image_digest
    assert after.course_digest != before.course_digest


def test_digests_do_not_depend_on_the_secret_and_pseudonyms_do() -> None:
    export = mixed_export()
    one, other = export.organize(), export.organize(secret=b"another secret, just as long as it")
    assert {(c.image_digest, c.course_digest) for c in one.manifest.courses} == {
        (c.image_digest, c.course_digest) for c in other.manifest.courses
    }
    assert not {c.patient_id for c in one.manifest.courses} & {c.patient_id for c in other.manifest.courses}


def test_a_reencoded_copy_changes_nothing() -> None:
    export = Export()
    export.course()
    before = export.organize()
    copies = [dict(r, path=f"again/{n}", size=77, transfer_syntax_uid="1.2") for n, r in enumerate(export.rows)]
    use = ["duplicate"] * len(copies) + ["used"] * len(export.rows)
    export.rows = [*copies, *export.rows]
    after = export.organize(use=use)
    assert [c.model_dump() for c in after.manifest.courses] == [c.model_dump() for c in before.manifest.courses]
    copies_in_index = [r for r in after.index.to_pylist() if r["use"] == "duplicate"]
    assert all(r["course_id"] == after.manifest.courses[0].course_id for r in copies_in_index)


@pytest.mark.parametrize("column", ["header_sha256", "sop_instance_uid"])
def test_a_changed_slice_of_the_planning_image_changes_both_digests(column: str) -> None:
    export = Export()
    ct = export.course()["ct"]
    (before,) = export.organize().manifest.courses
    ct.rows[3][column] = uid("changed")
    (after,) = export.organize().manifest.courses
    assert after.image_digest != before.image_digest
    assert after.course_digest != before.course_digest


def test_a_changed_contour_changes_the_course_digest_only() -> None:
    export = Export()
    export.course()
    (before,) = export.organize().manifest.courses
    next(r for r in export.rows if r["kind"] == "rtstruct")["content_sha256"] = "f" * 64
    (after,) = export.organize().manifest.courses
    assert (after.image_digest, after.course_digest == before.course_digest) == (before.image_digest, False)


def test_the_row_of_the_users_manifest_enters_the_course_digest() -> None:
    export = Export()
    plan = export.course()["plan"]
    (before,) = export.organize().manifest.courses
    row = user_row({"plan_uid": plan, "rx_gy": "50"})
    other = user_row({"plan_uid": uid("of another course"), "rx_gy": "50"})
    (with_row,) = export.organize(manifest=[row]).manifest.courses
    (with_other,) = export.organize(manifest=[other]).manifest.courses
    assert with_row.course_digest != before.course_digest
    assert with_row.image_digest == before.image_digest
    assert with_other.course_digest == before.course_digest


def test_an_earlier_course_of_the_patient_changes_no_digest_of_the_later_one() -> None:
    export = Export()
    export.course(days=400)
    first = export.organize()
    export.study = "study of long ago"
    export.course(days=0)
    second = export.organize(registry=first.registry)
    (before,) = first.manifest.courses
    after = second.manifest.course(before.course_id)
    assert (after.image_digest, after.course_digest) == (before.image_digest, before.course_digest)
    assert after.course_order == 2


def test_an_export_without_objects_gives_an_empty_manifest() -> None:
    found = Export().organize()
    assert (found.manifest.patients, found.manifest.courses) == ([], [])
    assert found.manifest.counts["objects"] == 0
    assert found.index.num_rows == 0


def test_the_demo_marker_counts_only_when_every_object_carries_it() -> None:
    export = Export()
    plan = export.course()["plan"]
    for row in export.rows:
        row.update(manufacturer="RTpipeline", model="RTpipeline demo phantom")
    assert export.organize().manifest.courses[0].demo
    export.record(plan)
    assert not export.organize().manifest.courses[0].demo


def test_a_clean_treatment_has_no_finding() -> None:
    export = Export()
    export.course()
    assert codes(export.organize()) == []


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["course", "ct", "rs", "dose", "plan"]),
            st.sampled_from(["A", "B", ""]),
            st.sampled_from(["Doe^J", "Roe^R", ""]),
            st.integers(0, 500),
        ),
        max_size=6,
    ),
    st.integers(0, 100),
)
def test_any_mixture_keeps_every_object_and_ignores_order(parts: list[tuple[str, str, str, int]], seed: int) -> None:
    export = Export()
    for number, (what, patient, name, days) in enumerate(parts):
        export.patient, export.name, export.study = patient, name, f"study {number}"
        if what == "course":
            export.course(days=days)
        elif what == "ct":
            export.ct(slices=3, days=days)
        elif what == "rs":
            export.structure_set(days=days)
        elif what == "dose":
            export.dose(uid("absent", patient), days=days)
        else:
            export.plan(uid("absent", patient), days=days)
    plain, shuffled = export.organize(), export.organize(shuffle=seed)
    assert public_bytes(plain) == public_bytes(shuffled)
    placed = [r for r in plain.index.to_pylist() if r["use"] == "used"]
    assert len(placed) == len(export.rows)
    assert len({c.course_id for c in plain.manifest.courses}) == len(plain.manifest.courses)
    again = export.organize(registry=plain.registry, shuffle=seed + 1)
    assert public_bytes(again) == public_bytes(plain)
    assert again.registry == plain.registry
