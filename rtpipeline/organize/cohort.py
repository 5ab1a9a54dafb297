"""Organize as one pure function: the scan's table in, patients, courses and the private index out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.manifests import CohortManifest, Course
from rtpipeline.organize.course_findings import course_findings
from rtpipeline.organize.courses import CourseDraft, draft_course, is_scout
from rtpipeline.organize.digests import ContentHashes, course_digest, image_digest
from rtpipeline.organize.grouping import cluster_of, group_courses
from rtpipeline.organize.image_class import classify
from rtpipeline.organize.inventory import Inventory, take_inventory
from rtpipeline.organize.ledger import Placed, identity_rows
from rtpipeline.organize.manifest_entry import EntryMaker, object_ids
from rtpipeline.organize.patients import PatientGroup, different_names, group_patients
from rtpipeline.organize.registry import (
    CourseToName,
    IdentityMode,
    Numbered,
    PatientToName,
    Registry,
    member_hash,
    members_of,
)
from rtpipeline.organize.roster import listed_patients, name_rest, settle_rest
from rtpipeline.organize.user_manifest import UserRow, rows_about_nothing, rows_of_course, rows_of_patient

TREATED = ("planned", "plan_only", "dose_only", "structures_and_dose")
NOT_USED_KINDS = ("rtimage", "seg")


@dataclass(frozen=True)
class OrganizeSettings:
    """What of the configuration decides about courses."""

    identity: IdentityMode = "pseudonymize"
    course_gap_days: int = 90
    prepare_images: Literal["referenced", "all"] = "referenced"
    verify_content: bool = False


@dataclass(frozen=True)
class OrganizeResult:
    """What organize found."""

    manifest: CohortManifest
    index: pa.Table
    """INDEX_SCHEMA, sorted by course"""
    findings: list[Finding]
    registry: dict[str, Any]
    """content of `registry.json`"""
    identity: list[dict[str, Any]]
    """rows of `identity.parquet`"""


def organize(
    table: pa.Table,
    *,
    cohort: str,
    secret: bytes,
    settings: OrganizeSettings | None = None,
    registry: Mapping[str, Any] | None = None,
    manifest_rows: Sequence[UserRow] = (),
    use: Sequence[str] | None = None,
) -> OrganizeResult:
    """Patients, courses and links of an export.

    Parameters
    ----------
    table: SCAN_SCHEMA, rows in any order.
    registry: content of `registry.json` of an earlier run.
    use: for each row what de-duplication decided: `used` (or ''), `duplicate`, `conflict`, `quarantined`.

    The result depends on the content of rows, secret, registry and manifest, never on order or names of files.
    """
    inventory = take_inventory(table, use)
    work = _Organizer(
        inventory, secret, settings or OrganizeSettings(), list(manifest_rows), Registry.from_json(registry)
    )
    for group, patient_id in work.patients():
        work.courses_of(group, patient_id)
    return work.result(cohort)


@dataclass
class _Organizer:
    inventory: Inventory
    secret: bytes
    settings: OrganizeSettings
    manifest: list[UserRow]
    registry: Registry
    findings: list[Finding] = field(default_factory=list)
    courses: list[Course] = field(default_factory=list)
    groups: dict[str, PatientGroup] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.findings += self.inventory.findings
        self.contents = ContentHashes(self.inventory.columns, whole_content=self.settings.verify_content)

    def patients(self) -> list[tuple[PatientGroup, str]]:
        """Patients with their ids, in order of the ids; their images are classified."""
        objects = self.inventory.objects
        grouping = group_patients(objects, self.inventory.components, self._confirmed())
        wanted = []
        for group in grouping.groups:
            things = [objects[n] for n in group.numbers]
            classify([t for t in things if t.kind == "image"])
            person = "\0".join(group.identity) if group.key else "component\0" + min(t.order for t in things)
            members = members_of(self.secret, {t.uid for t in things})
            wanted.append(PatientToName(group.key, person, group.identity.patient, group.shares_id, members))
        ids, absorbed = self.registry.name_patients(self.secret, self.settings.identity, wanted)
        named = sorted(zip(grouping.groups, ids, strict=True), key=lambda pair: pair[1])
        self.groups = {patient_id: group for group, patient_id in named}
        self._report_patients(grouping.without_id, absorbed)
        return named

    def _confirmed(self) -> dict[int, str]:
        """Components that the manifest includes by a plan, whatever identities disagree there."""
        included = {r.plan_uid: r.patient_id for r in self.manifest if r.plan_uid and r.include}
        return {
            index: included[uid]
            for index, numbers in enumerate(self.inventory.components if included else ())
            for uid in (self.inventory.objects[n].uid for n in numbers)
            if uid in included
        }

    def _report_patients(self, without_id: int, absorbed: Mapping[str, str]) -> None:
        for patient_id, group in self.groups.items():
            if group.shares_id:
                self.findings.append(
                    finding(
                        "PATIENT_MISMATCH",
                        f"patient {patient_id}",
                        "shares its id with others whose name or birth date differs",
                        severity="W",
                        action="split",
                        patient_id=patient_id,
                    )
                )
        if without_id:
            measured = f"{without_id} groups of linked objects without a usable patient id"
            self.findings.append(
                finding(
                    "PATIENT_MISMATCH",
                    "patients without id",
                    measured,
                    severity="W",
                    scope="cohort",
                    action="each group taken as a patient",
                )
            )
        self._report_manifest()
        for old, new in sorted(absorbed.items()):
            self.findings.append(
                finding("COURSE_MERGED", f"patient {old}", f"now part of {new}", scope="patient", patient_id=new)
            )

    def _report_manifest(self) -> None:
        """Rows of the user's manifest that lead nowhere, a typing error perhaps."""
        patients = {name for p, g in self.groups.items() for name in (p, g.identity.patient, g.key)}
        plans = {o.uid for o in self.inventory.objects.values() if o.kind == "rtplan"}
        idle = rows_about_nothing(self.manifest, patients, plans)
        if idle:
            self.findings.append(
                finding(
                    "OBJECT_NOT_USED",
                    "manifest lines " + ", ".join(str(r.line) for r in idle),
                    "they name a patient or plan that the export does not hold",
                    severity="W",
                    scope="cohort",
                    expected="patients and plans of the export",
                    remedy="check the ids in the manifest",
                )
            )

    def courses_of(self, group: PatientGroup, patient_id: str) -> None:
        """Decide, number and record the courses of one patient."""
        rows = rows_of_patient(self.manifest, patient_id, group.identity.patient, group.key)
        drafts = sorted(self._drafts(group, rows), key=lambda d: d.order)
        numbered = self.registry.number_courses(
            patient_id,
            [
                CourseToName(
                    member_hash(self.secret, d.anchor.uid),
                    members_of(self.secret, {t.uid for t in d.things.values()}),
                    d.order,
                )
                for d in drafts
            ],
        )
        finished = [
            self._finished(draft, patient_id, f"{patient_id}-c{given.number:02d}", rank, rows)
            for rank, (draft, given) in enumerate(zip(drafts, numbered, strict=True), start=1)
        ]
        treated = [
            c.course_id
            for c, d in zip(finished, drafts, strict=True)
            if c.course_kind in TREATED and d.day0 is not None
        ]
        for course, draft, given in zip(finished, drafts, numbered, strict=True):
            self._report_course(course, draft, given, treated)
        self.courses += finished

    def _drafts(self, group: PatientGroup, rows: Sequence[UserRow]) -> list[CourseDraft]:
        """Courses of the patient; a component with two identities is one by itself."""
        gap, objects = self.settings.course_gap_days, self.inventory.objects
        hits = self.inventory.hits
        clean = [c for i, c in enumerate(group.components) if i not in group.conflicts]
        clusters = group_courses([cluster_of([objects[n] for n in c], gap) for c in clean], gap)
        drafts = [draft_course([objects[n] for n in c.numbers], hits, rows, weak=c.weak) for c in clusters]
        for index, problem in sorted(group.conflicts.items()):
            things = [objects[n] for n in group.components[index]]
            drafts.append(draft_course(things, hits, rows, conflict=problem))
        return drafts

    def _finished(
        self, draft: CourseDraft, patient_id: str, course_id: str, course_order: int, rows: Sequence[UserRow]
    ) -> Course:
        """The course's entry, with its objects recorded in the ledger."""
        ids = object_ids(draft)
        excluded_by = ["PATIENT_MISMATCH"] if draft.conflict else []
        if any(r.about_patient and r.include is False for r in rows):
            excluded_by.append("OBJECT_NOT_USED")
        entry = EntryMaker(draft, ids, self.secret, self.settings.prepare_images == "all").course()
        entry = entry.model_copy(
            update={
                "course_id": course_id,
                "patient_id": patient_id,
                "course_order": course_order,
                "status": "excluded" if excluded_by else "ok",
                "excluded_by": excluded_by,
                "manifest": rows_of_course(rows, {p.uid: ids[p.number] for p in draft.of("rtplan")}),
            }
        )
        contents = {ids[n]: self.contents.of(t) for n, t in draft.things.items()}
        for number, thing in draft.things.items():
            reason = excluded_by[0] if excluded_by else ""
            if not reason and (is_scout(thing) or thing.kind in NOT_USED_KINDS):
                reason = "IMG_LOCALIZER_MIXED" if is_scout(thing) else "OBJECT_NOT_USED"
            use = "not_used" if reason else "used"
            self.inventory.ledger.place(thing, Placed(patient_id, course_id, ids[number], use, reason))
        prepared = {i.image_id for i in entry.images if i.prepare}
        self.findings += [f.for_course(course_id, patient_id) for f in course_findings(draft, ids, prepared)]
        digests = {
            "image_digest": image_digest(entry, contents),
            "course_digest": course_digest(entry, contents),
        }
        return entry.model_copy(update=digests)

    def _report_course(self, course: Course, draft: CourseDraft, given: Numbered, treated: Sequence[str]) -> None:
        """Findings that need the patient's other courses or the registry."""
        found = []
        if given.retired:
            gone = ", ".join(f"{course.patient_id}-c{n:02d}" for n in given.retired)
            found.append(finding("COURSE_MERGED", course.course_id, f"retired: {gone}"))
        if course.course_id in treated[1:]:
            measured = f"{len(treated)} courses; this one is number {treated.index(course.course_id) + 1} in time"
            found.append(finding("COURSE_REIRRADIATION", course.course_id, measured))
        if "OBJECT_NOT_USED" in course.excluded_by:
            found.append(finding("OBJECT_NOT_USED", course.course_id, "patient excluded by the manifest"))
        if not draft.conflict and different_names(i for t in draft.things.values() for i in t.identities):
            found.append(
                finding(
                    "PATIENT_MISMATCH",
                    course.course_id,
                    "names differ within linked objects",
                    severity="W",
                    action="taken as one patient: id and birth date agree, or the manifest says so",
                )
            )
        self.findings += [f.for_course(course.course_id, course.patient_id) for f in found]

    def result(self, cohort: str) -> OrganizeResult:
        """The manifest, the index and the rest, once every course is recorded."""
        inventory = self.inventory
        settle_rest(inventory, self.groups)
        name_rest(inventory, self.registry, self.secret, self.settings.identity, (g.key for g in self.groups.values()))
        patients = listed_patients(inventory, self.courses)
        counts = {**inventory.ledger.counts(), "patients": len(patients), "courses": len(self.courses)}
        return OrganizeResult(
            manifest=CohortManifest(
                cohort=cohort,
                patients=patients,
                courses=sorted(self.courses, key=lambda c: c.course_id),
                counts=dict(sorted(counts.items())),
            ),
            index=inventory.ledger.index(self.secret),
            findings=self.findings,
            registry=self.registry.to_json(),
            identity=identity_rows(inventory.ledger, inventory.objects.values(), self.secret),
        )
