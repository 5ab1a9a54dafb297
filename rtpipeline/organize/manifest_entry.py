"""A decided course as its entry in `courses.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from rtpipeline.contracts.manifests import (
    Course,
    DoseRef,
    ImageRef,
    OtherRef,
    PlanRef,
    StructureSetRef,
)
from rtpipeline.organize.courses import CourseDraft, is_scout
from rtpipeline.organize.covariates import covariates
from rtpipeline.organize.image_class import description_class
from rtpipeline.organize.objects import ScanObject, is_uid
from rtpipeline.organize.plans import plan_class
from rtpipeline.organize.structure_sets import frames_of
from rtpipeline.store.identity import keyed_hash

PREFIXES = {
    "rtstruct": "rs", "rtplan": "plan", "rtdose": "rd", "reg": "reg", "rtrecord": "rec", "rtimage": "ri", "seg": "seg",
}  # fmt: skip
OTHER_KINDS = ("reg", "rtrecord", "rtimage", "seg")


def object_ids(draft: CourseDraft) -> dict[int, str]:
    """Ids of a course's objects (`ct-01`, `rs-01`, ...) by object number: by date, then by hash."""
    ids: dict[int, str] = {}
    count: dict[str, int] = {}
    for thing in [*draft.images, *draft.of(*PREFIXES)]:
        prefix = thing.image.modality.lower() if thing.image is not None else PREFIXES[thing.kind]
        count[prefix] = count.get(prefix, 0) + 1
        ids[thing.number] = f"{prefix}-{count[prefix]:02d}"
    return ids


@dataclass(frozen=True)
class EntryMaker:
    """Builds the entries of one course."""

    draft: CourseDraft
    ids: dict[int, str]
    secret: bytes
    prepare_all: bool

    def course(self) -> Course:
        """The entry, without its ids and digests."""
        draft = self.draft
        things = list(draft.things.values())
        planning = draft.things[draft.planning] if draft.planning is not None else None
        return Course(
            course_id="",
            patient_id="",
            course_order=0,
            course_kind=draft.kind,
            image_digest="",
            course_digest="",
            demo=all(t.is_demo for t in things),
            images=[self._image(t) for t in draft.images],
            structure_sets=[self._structure_set(t) for t in draft.of("rtstruct")],
            plans=[self._plan(t) for t in draft.of("rtplan")],
            doses=[self._dose(t) for t in draft.of("rtdose")],
            others=[self._other(t) for kind in OTHER_KINDS for t in draft.of(kind)],
            covariates=covariates(things, planning, draft.day0),
        )

    def _image(self, part: ScanObject) -> ImageRef:
        image = part.image
        assert image is not None
        planning = part.number == self.draft.planning
        bound = any(b.part == part.number for b in self.draft.bindings.values())
        wanted = planning or bound or self.prepare_all
        return ImageRef(
            image_id=self.ids[part.number],
            object_hash=self._hash(part.uid),
            modality=cast(Literal["CT", "MR", "PT"], image.modality),
            image_class=image.image_class,
            role="planning" if planning else "secondary",
            prepare=wanted and not is_scout(part),
            instances=image.instances,
            frame_hash=self._frame(part),
            day=self._day(part),
            link=self._link(part),
            series_description_class=description_class(part),
        )

    def _link(self, part: ScanObject) -> str:
        """The strongest reason why an image belongs to the course."""
        draft = self.draft
        if part.number == draft.planning:
            return draft.planning_link
        sets = [n for n, b in draft.bindings.items() if b.part == part.number]
        by_plan = {p.facts.get("structure_set_uid") for p in draft.of("rtplan")}
        if sets:
            return "plan_structure_set" if any(draft.things[n].uid in by_plan for n in sets) else "structure_set"
        others = [t for t in draft.things.values() if t.number != part.number]
        if is_uid(part.frame_uid) and any(part.frame_uid in frames_of(t) for t in others if t.kind == "reg"):
            return "registration"
        if is_uid(part.study_uid) and any(t.study_uid == part.study_uid for t in others):
            return "study"
        if is_uid(part.frame_uid) and any(part.frame_uid in frames_of(t) for t in others):
            return "frame_of_reference"
        return "date" if others else "study"

    def _structure_set(self, one: ScanObject) -> StructureSetRef:
        binding = self.draft.bindings[one.number]
        part = binding.part if binding.part in self.ids else None
        by_plan = {p.facts.get("structure_set_uid") for p in self.draft.of("rtplan")}
        return StructureSetRef(
            structure_set_id=self.ids[one.number],
            object_hash=self._hash(one.uid),
            role="primary" if one.number in self.draft.primary else "other",
            image_id=None if part is None else self.ids[part],
            image_link="none" if part is None else binding.link,
            frame_hash=self._frame(one),
            approval_status=one.facts.get("approval_status") or None,
            referenced_by_plan=one.uid in by_plan,
            rois=int(one.facts.get("rois") or 0),
            day=self._day(one),
        )

    def _plan(self, plan: ScanObject) -> PlanRef:
        choice = self.draft.choices[plan.number]
        structure_set = self.draft.structure_set_of(plan)
        return PlanRef(
            plan_id=self.ids[plan.number],
            object_hash=self._hash(plan.uid),
            plan_class=plan_class(plan),
            structure_set_id=None if structure_set is None else self.ids[structure_set.number],
            selected=choice.selected,
            reason=choice.reason,
            approval_status=plan.facts.get("approval_status") or None,
            intent=plan.facts.get("intent") or None,
            day=self._day(plan),
        )

    def _dose(self, dose: ScanObject) -> DoseRef:
        sets = self._ids_of("rtstruct", dose.facts.get("structure_set_uids") or [])
        return DoseRef(
            rtdose_id=self.ids[dose.number],
            object_hash=self._hash(dose.uid),
            plan_ids=self._ids_of("rtplan", dose.facts.get("plan_uids") or []),
            structure_set_id=sets[0] if sets else None,
            frame_hash=self._frame(dose),
            summation_type=str(dose.facts.get("summation_type") or ""),
            units=str(dose.facts.get("units") or ""),
            dose_type=str(dose.facts.get("dose_type") or ""),
            has_pixels=bool(dose.facts.get("has_pixels")),
            day=self._day(dose),
        )

    def _other(self, thing: ScanObject) -> OtherRef:
        return OtherRef(
            object_id=self.ids[thing.number],
            object_hash=self._hash(thing.uid),
            kind=cast(Literal["reg", "rtrecord", "rtimage", "seg", "other"], thing.kind),
            plan_ids=self._ids_of("rtplan", thing.facts.get("plan_uids") or []),
            day=self._day(thing),
        )

    def _ids_of(self, kind: str, uids: list[str]) -> list[str]:
        wanted = set(uids)
        return [self.ids[t.number] for t in self.draft.of(kind) if t.uid in wanted]

    def _hash(self, uid: str) -> str:
        return keyed_hash(self.secret, uid)

    def _frame(self, thing: ScanObject) -> str | None:
        frames = sorted(frames_of(thing), key=lambda f: (f != thing.frame_uid, f))
        return self._hash(frames[0]) if frames else None

    def _day(self, thing: ScanObject) -> int | None:
        day0 = self.draft.day0
        return None if thing.day is None or day0 is None else thing.day - day0
