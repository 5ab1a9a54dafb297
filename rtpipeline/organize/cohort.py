"""Organize as one pure function: the scan's table in, patients, courses and the private index out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.manifests import CohortManifest, Course, Patient
from rtpipeline.organize.components import components, image_hits, referenced_slices
from rtpipeline.organize.course_findings import course_findings
from rtpipeline.organize.courses import CourseDraft, draft_course, is_scout
from rtpipeline.organize.digests import ContentHashes, course_digest, image_digest
from rtpipeline.organize.grouping import cluster_of, group_courses
from rtpipeline.organize.image_class import classify
from rtpipeline.organize.ledger import REASONS, Ledger, Placed, identity_rows
from rtpipeline.organize.manifest_entry import EntryMaker, object_ids
from rtpipeline.organize.objects import (
    RT_KINDS,
    Identity,
    ObjectColumns,
    ScanObject,
    content_order,
    is_uid,
    rt_objects,
)
from rtpipeline.organize.patients import Grouping, PatientGroup, different_names, group_patients, is_filler
from rtpipeline.organize.registry import CourseToName, PatientToName, Registry, members_of
from rtpipeline.organize.series import image_parts
from rtpipeline.organize.user_manifest import ManifestRow, rows_of_course, rows_of_patient

TREATED = ("planned", "plan_only", "dose_only", "structures_and_dose")
NOT_USED_KINDS = ("rtimage", "seg")


@dataclass(frozen=True)
class OrganizeSettings:
    """What of the configuration decides about courses."""

    identity: Literal["pseudonymize", "keep"] = "pseudonymize"
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
    identity: list[dict[str, Any]]
    """rows of `identity.parquet`"""


def organize(
    table: pa.Table,
    *,
    cohort: str,
    secret: bytes,
    settings: OrganizeSettings | None = None,
    registry: Mapping[str, Any] | None = None,
    manifest_rows: Sequence[ManifestRow] = (),
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
    work = _Work(table, cohort, secret, settings or OrganizeSettings(), list(manifest_rows), use)
    work.registry = Registry.from_json(registry)
    groups = work.patients()
    for group, patient_id in work.named(groups):
        work.courses_of(group, patient_id)
    return work.result(groups)


@dataclass
class _Settled:
    """A finished course beside the draft it came from."""

    course: Course
    draft: CourseDraft


@dataclass
class _Work:
    table: pa.Table
    cohort: str
    secret: bytes
    settings: OrganizeSettings
    manifest: list[ManifestRow]
    given_use: Sequence[str] | None
    registry: Registry = field(default_factory=Registry)
    findings: list[Finding] = field(default_factory=list)
    courses: list[_Settled] = field(default_factory=list)
    patient_ids: dict[str, PatientGroup] = field(default_factory=dict)

    def __post_init__(self) -> None:
        order = content_order(self.table)
        self.columns = ObjectColumns(self.table, order)
        use = np.full(len(order), "", dtype=object)
        if self.given_use is not None:
            use[:] = np.array(list(self.given_use), dtype=object)[order]
        use[use == "used"] = ""
        reasons = np.array([REASONS.get(u, "") for u in use], dtype=object)
        self.ledger = Ledger(self.columns, use, reasons)
        self._refuse()
        self._find_objects()

    def _refuse(self) -> None:
        """Set aside what cannot be linked or is of no use. The scan reports these, but for UIDs that are no UIDs."""
        columns, ledger = self.columns, self.ledger
        open_ = ledger.use == ""
        images = columns.text("kind").mask(lambda k: k == "image")
        supported = columns.text("kind").mask(lambda k: k == "image" or k in RT_KINDS)
        sop, series = columns.text("sop_instance_uid"), columns.text("series_uid")
        unlinked = ~sop.mask(is_uid) | (images & ~series.mask(is_uid))
        burned = columns.text("burned_in").mask(lambda b: b.strip().upper() == "YES") & images
        ledger.refuse(np.flatnonzero(open_ & ~supported), "not_used", "FILE_UNSUPPORTED")
        ledger.refuse(np.flatnonzero(open_ & supported & unlinked), "not_used", "FILE_MISSING_UID")
        ledger.refuse(np.flatnonzero(open_ & supported & ~unlinked & burned), "not_used", "BURNED_IN")
        invalid = (sop.mask(bool) & ~sop.mask(is_uid)) | (images & series.mask(bool) & ~series.mask(is_uid))
        kinds = columns.text("kind")
        for code, number in _counts(kinds.codes[open_ & supported & invalid]):
            self.findings.append(
                finding("FILE_MISSING_UID", kinds.words[code], f"{number} objects whose UID is no UID", scope="cohort")
            )

    def _find_objects(self) -> None:
        """Image parts and RT objects, and the components they form."""
        columns = self.columns
        is_open = self.ledger.use == ""
        kinds = columns.text("kind")
        rt_rows = np.flatnonzero(is_open & kinds.mask(lambda k: k in RT_KINDS))
        image_rows = np.flatnonzero(is_open & kinds.mask(lambda k: k == "image"))
        rt = rt_objects(columns, rt_rows, 0)
        sets = [o for o in rt if o.kind == "rtstruct"]
        slices = referenced_slices(columns, image_rows, sets)
        parts = image_parts(columns, image_rows, slices, len(rt))
        self.hits = image_hits(parts, image_rows, sets, slices)
        self.objects = {o.number: o for o in [*rt, *parts]}
        self.components = components([*rt, *parts], self.hits)

    def patients(self) -> Grouping:
        """Patients of the export, their images classified."""
        included = {r.plan_uid: r.patient_id for r in self.manifest if r.plan_uid and r.include}
        confirmed = {
            index: included[self.objects[n].uid]
            for index, numbers in enumerate(self.components)
            for n in numbers
            if self.objects[n].kind == "rtplan" and self.objects[n].uid in included
        }
        grouping = group_patients(self.objects, self.components, confirmed)
        for group in grouping.groups:
            classify([self.objects[n] for n in group.numbers if self.objects[n].kind == "image"])
        if grouping.split_ids:
            measured = f"{grouping.split_ids} ids are each used for several people whose names or birth dates differ"
            self._split_finding(measured, "each a patient of their own")
        if grouping.without_id:
            measured = f"{grouping.without_id} groups of linked objects without a usable patient id"
            self._split_finding(measured, "each group a patient of its own")
        return grouping

    def _split_finding(self, measured: str, action: str) -> None:
        self.findings.append(
            finding("PATIENT_MISMATCH", "patients", measured, severity="W", scope="cohort", action=action)
        )

    def named(self, grouping: Grouping) -> list[tuple[PatientGroup, str]]:
        """Each patient with its id, in order of the ids."""
        wanted = []
        for group in grouping.groups:
            uids = [self.objects[n].uid for n in group.numbers]
            first = min(self.objects[n].order for n in group.numbers)
            person = "\0".join(group.identity) if group.key else f"component\0{first}"
            wanted.append(
                PatientToName(group.key, person, group.identity.patient, group.shares_id, members_of(self.secret, uids))
            )
        ids, absorbed = self.registry.name_patients(self.secret, self.settings.identity, wanted)
        for old, new in sorted(absorbed.items()):
            self.findings.append(
                finding("COURSE_MERGED", f"patient {old}", f"now part of {new}", patient_id=new, scope="patient")
            )
        named = sorted(zip(grouping.groups, ids, strict=True), key=lambda pair: pair[1])
        self.patient_ids = {patient_id: group for group, patient_id in named}
        return named

    def courses_of(self, group: PatientGroup, patient_id: str) -> None:
        """Decide, number and record the courses of one patient."""
        rows = rows_of_patient(self.manifest, patient_id, group.identity.patient, group.key)
        drafts = self._drafts(group, rows)
        numbered = self.registry.number_courses(
            patient_id,
            [
                CourseToName(
                    members_of_one(self.secret, d.anchor),
                    members_of(self.secret, {t.uid for t in d.things.values()}),
                    d.order,
                )
                for d in drafts
            ],
        )
        left_out = any(r.about_patient and r.include is False for r in rows)
        ranks = sorted(range(len(drafts)), key=lambda i: (drafts[i].order, numbered[i].number))
        done: list[tuple[int, _Settled, tuple[int, ...]]] = []
        for index, (draft, given) in enumerate(zip(drafts, numbered, strict=True)):
            course_id = f"{patient_id}-c{given.number:02d}"
            settled = self._settled(draft, patient_id, course_id, ranks.index(index) + 1, rows, left_out)
            done.append((given.number, settled, given.retired))
        treated = sum(s.course.course_kind in TREATED for _, s, _ in done)
        for _, settled, retired in sorted(done, key=lambda d: d[0]):
            self._report(settled, retired, treated, patient_id, left_out)
            self.courses.append(settled)

    def _drafts(self, group: PatientGroup, rows: Sequence[ManifestRow]) -> list[CourseDraft]:
        """Courses of the patient; a component with two identities is one by itself."""
        gap = self.settings.course_gap_days
        clean = [c for i, c in enumerate(group.components) if i not in group.conflicts]
        clusters = group_courses([cluster_of([self.objects[n] for n in c], gap) for c in clean], gap)
        found = [(c.numbers, "", c.weak) for c in clusters]
        found += [(group.components[i], group.conflicts[i], []) for i in sorted(group.conflicts)]
        drafts = []
        for numbers, conflict, weak in found:
            things = [self.objects[n] for n in sorted(numbers)]
            images = {t.number: t for t in things if t.kind == "image"}
            draft = draft_course(things, self.hits, images, rows)
            draft.conflict, draft.weak = conflict, weak
            drafts.append(draft)
        return drafts

    def _settled(
        self,
        draft: CourseDraft,
        patient_id: str,
        course_id: str,
        course_order: int,
        rows: Sequence[ManifestRow],
        left_out: bool,
    ) -> _Settled:
        ids = object_ids(draft)
        entry = EntryMaker(draft, ids, self.secret, self.settings.prepare_images == "all").course()
        reasons = [*(["PATIENT_MISMATCH"] if draft.conflict else []), *(["OBJECT_NOT_USED"] if left_out else [])]
        entry = entry.model_copy(
            update={
                "course_id": course_id,
                "patient_id": patient_id,
                "course_order": course_order,
                "status": "excluded" if reasons else "ok",
                "excluded_by": reasons,
            }
        )
        contents = {ids[n]: self.content_hashes.of(t) for n, t in draft.things.items()}
        about = [r.content() for r in rows_of_course(rows, [p.uid for p in draft.of("rtplan")])]
        entry = entry.model_copy(
            update={
                "image_digest": image_digest(entry, contents),
                "course_digest": course_digest(entry, contents, about),
            }
        )
        for number, thing in draft.things.items():
            use, reason = "used", ""
            if reasons:
                use, reason = "not_used", reasons[0]
            elif is_scout(thing):
                use, reason = "not_used", "IMG_LOCALIZER_MIXED"
            elif thing.kind in NOT_USED_KINDS:
                use, reason = "not_used", "OBJECT_NOT_USED"
            self.ledger.place(thing, Placed(patient_id, course_id, ids[number], use, reason))
        self.findings += [f.for_course(course_id, patient_id) for f in course_findings(draft, ids)]
        return _Settled(entry, draft)

    @property
    def content_hashes(self) -> ContentHashes:
        """Hashes of objects, made with the settings of this run."""
        if not hasattr(self, "_content_hashes"):
            self._content_hashes = ContentHashes(self.columns, whole_content=self.settings.verify_content)
        return self._content_hashes

    def _report(self, settled: _Settled, retired: Sequence[int], treated: int, patient_id: str, left_out: bool) -> None:
        """Findings that need the course's number."""
        course, things = settled.course, settled.draft.things.values()
        found = []
        if retired:
            gone = ", ".join(f"{patient_id}-c{n:02d}" for n in retired)
            found.append(finding("COURSE_MERGED", course.course_id, f"retired: {gone}"))
        if treated > 1 and course.course_kind in TREATED and course.course_order > 1:
            measured = f"{treated} courses; this one is number {course.course_order} in time"
            found.append(finding("COURSE_REIRRADIATION", course.course_id, measured))
        if left_out:
            found.append(finding("OBJECT_NOT_USED", course.course_id, "patient excluded by the manifest"))
        if not settled.draft.conflict and different_names(i for t in things for i in t.identities):
            found.append(
                finding(
                    "PATIENT_MISMATCH",
                    course.course_id,
                    "names differ while id and birth date agree",
                    severity="W",
                    action="taken as one patient",
                )
            )
        self.findings += [f.for_course(course.course_id, patient_id) for f in found]

    def result(self, grouping: Grouping) -> OrganizeResult:
        """The manifest, the index and the rest, once every course is recorded."""
        patient_of: dict[Identity, str] = {}
        of_study: dict[str, set[str]] = {}
        for patient_id, group in self.patient_ids.items():
            for number in group.numbers:
                thing = self.objects[number]
                for who in thing.identities:
                    if not is_filler(who.patient):
                        patient_of.setdefault(who, patient_id)
                if is_uid(thing.study_uid):
                    of_study.setdefault(thing.study_uid, set()).add(patient_id)
        alone = {study: next(iter(ids)) for study, ids in of_study.items() if len(ids) == 1}
        self.ledger.settle(patient_of, alone)
        patients = self._listed_patients()
        courses = sorted((s.course for s in self.courses), key=lambda c: c.course_id)
        counts = {**self.ledger.counts(), "patients": len(patients), "courses": len(courses)}
        manifest = CohortManifest(
            cohort=self.cohort, patients=patients, courses=courses, counts=dict(sorted(counts.items()))
        )
        return OrganizeResult(
            manifest=manifest,
            index=self.ledger.index(self.secret),
            findings=self.findings,
            registry=self.registry.to_json(),
            identity=identity_rows(self.ledger, self.objects.values(), self.secret),
        )

    def _listed_patients(self) -> list[Patient]:
        """Every patient: those with courses, and those of whom nothing can be used."""
        self._name_the_rest()
        objects = Counter(p for p in self.ledger.patient.tolist() if p)
        of_patient: dict[str, list[Course]] = {}
        for settled in self.courses:
            of_patient.setdefault(settled.course.patient_id, []).append(settled.course)
        listed = []
        for patient_id in sorted(objects):
            courses = sorted(of_patient.get(patient_id, []), key=lambda c: c.course_id)
            kinds = list(dict.fromkeys(c.course_kind for c in sorted(courses, key=lambda c: c.course_order)))
            excluded = bool(courses) and all(c.status == "excluded" for c in courses)
            listed.append(
                Patient(
                    patient_id=patient_id,
                    courses=[c.course_id for c in courses],
                    objects=objects[patient_id],
                    kind="+".join(kinds) or "nothing_usable",
                    status="nothing_usable" if not courses else "excluded" if excluded else "ok",
                )
            )
        return listed

    def _name_the_rest(self) -> None:
        """An id for people of whom only refused objects came, so that they are listed too."""
        ledger, columns = self.ledger, self.columns
        codes = columns.text("patient_key")
        nameless = np.flatnonzero(ledger.patient == "")
        rows_of: dict[tuple[str, str], list[int]] = {}
        for row in nameless.tolist():
            key = codes.at(row)
            study = columns.at("study_uid", row)
            if not is_filler(key.partition("^^^")[0]):
                rows_of.setdefault(("key", key), []).append(row)
            elif is_uid(study):
                rows_of.setdefault(("study", study), []).append(row)
        wanted = []
        for (what, text), _ in sorted(rows_of.items()):
            key = text if what == "key" else ""
            person = f"{what}\0{text}\0nothing usable"
            wanted.append(PatientToName(key, person, key.partition("^^^")[0], key in self._keys(), frozenset()))
        ids, _ = self.registry.name_patients(self.secret, self.settings.identity, wanted)
        for (_, rows), patient_id in zip(sorted(rows_of.items()), ids, strict=True):
            ledger.patient[rows] = patient_id

    def _keys(self) -> set[str]:
        return {g.key for g in self.patient_ids.values()}


def members_of_one(secret: bytes, thing: ScanObject) -> str:
    """How the registry knows one object."""
    return next(iter(members_of(secret, [thing.uid])))


def _counts(codes: np.ndarray) -> list[tuple[int, int]]:
    found, numbers = np.unique(codes, return_counts=True)
    return list(zip(found.tolist(), numbers.tolist(), strict=True))
