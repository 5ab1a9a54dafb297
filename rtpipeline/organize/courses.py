"""What a course consists of: kind, day 0, planning image, the plans that count, the image of each structure set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rtpipeline.contracts.manifests import CourseKind
from rtpipeline.organize.components import ImageHits
from rtpipeline.organize.objects import ScanObject
from rtpipeline.organize.plans import PlanChoice, choose_plans, precedence
from rtpipeline.organize.structure_sets import Binding, bind_images, frames_of, primary_sets, volume_order
from rtpipeline.organize.user_manifest import UserRow

PLANNING_BY_DEFAULT = ("ct", "ct_4d_average", "ct_4d_phase", "mr", "pt")
"""Kinds of images that may become the planning image although nothing references them."""


@dataclass
class CourseDraft:
    """One course, decided but not yet numbered. Objects are named by their number."""

    things: dict[int, ScanObject]
    conflict: str = ""
    weak: list[str] = field(default_factory=list)
    choices: dict[int, PlanChoice] = field(default_factory=dict)
    bindings: dict[int, Binding] = field(default_factory=dict)
    primary: set[int] = field(default_factory=set)
    planning: int | None = None
    planning_link: str = ""
    planning_problem: str = ""

    def of(self, *kinds: str) -> list[ScanObject]:
        """Objects of these kinds by date and hash."""
        return sorted((t for t in self.things.values() if t.kind in kinds), key=lambda t: t.sort_key)

    @property
    def images(self) -> list[ScanObject]:
        """Image parts, scouts last, by date and hash."""
        return sorted(self.of("image"), key=lambda t: is_scout(t))

    @property
    def volumes(self) -> list[ScanObject]:
        """Image parts that are no scouts."""
        return [t for t in self.images if not is_scout(t)]

    @property
    def selected_plans(self) -> list[ScanObject]:
        """Plans that count, the leading one first."""
        chosen = [p for p in self.of("rtplan") if self.choices[p.number].selected]
        return sorted(chosen, key=lambda p: precedence(p, self.choices))

    def structure_set_of(self, plan: ScanObject) -> ScanObject | None:
        """The structure set a plan references; without one that of its doses."""
        sets = {s.uid: s for s in self.of("rtstruct")}
        own = plan.facts.get("structure_set_uid")
        if own:
            return sets.get(own)
        by_dose = [
            sets[uid]
            for dose in self.of("rtdose")
            if plan.uid in (dose.facts.get("plan_uids") or [])
            for uid in dose.facts.get("structure_set_uids") or []
            if uid in sets
        ]
        return by_dose[0] if by_dose else None

    @property
    def kind(self) -> CourseKind:
        """By selected plans, structure sets, doses and images."""
        sets, doses = bool(self.of("rtstruct")), bool(self.of("rtdose"))
        if self.selected_plans:
            return "planned" if sets or doses or self.volumes else "plan_only"
        if sets:
            return "structures_and_dose" if doses else "structures_only"
        if doses:
            return "dose_only"
        if self.volumes:
            return "images_only"
        return "plan_only" if self.of("rtplan") else "other"

    @property
    def day0(self) -> int | None:
        """Ordinal of the earliest plan that counts, else of planning image, images, structure sets, doses, others."""
        image = [self.things[self.planning]] if self.planning is not None else []
        for group in (
            self.selected_plans, image, self.volumes, self.of("rtstruct"), self.of("rtdose"), [*self.things.values()],
        ):  # fmt: skip
            days = [t.day for t in group if t.day is not None]
            if days:
                return min(days)
        return None

    @property
    def anchor(self) -> ScanObject:
        """What the course is known again by: planning image, else structure set, plan, dose, image, anything."""
        if self.planning is not None:
            return self.things[self.planning]
        for kind in ("rtstruct", "rtplan", "rtdose", "image"):
            if found := self.of(kind):
                return found[0]
        return min(self.things.values(), key=lambda t: t.sort_key)

    @property
    def order(self) -> tuple[int, str]:
        """Sorts the courses of a patient."""
        day = self.day0
        return (10**9 if day is None else day, self.anchor.order)


def is_scout(part: ScanObject) -> bool:
    """Whether an image part is a localizer or left-over slices: listed, never a volume."""
    return part.image is not None and part.image.image_class == "localizer"


def draft_course(
    things: Sequence[ScanObject],
    hits: ImageHits,
    manifest: Sequence[UserRow],
    *,
    conflict: str = "",
    weak: Sequence[str] = (),
) -> CourseDraft:
    """Decide what a course consists of: which plans count, which image each structure set lies on, what is planned on.

    Parameters
    ----------
    conflict: in what its objects disagree about the patient; '' when they agree.
    weak: rules weaker than a reference or a date that joined its objects.
    """
    things = sorted(things, key=lambda t: t.number)
    draft = CourseDraft({t.number: t for t in things}, conflict, list(weak))
    plans, sets = draft.of("rtplan"), draft.of("rtstruct")
    draft.choices = choose_plans(plans, manifest)
    draft.bindings = bind_images(sets, {t.number: t for t in things if t.kind == "image"}, hits)
    rank: dict[str, int] = {}
    for plan in plans:
        uid = plan.facts.get("structure_set_uid")
        if uid:
            rank[uid] = min(rank.get(uid, 1), 0 if draft.choices[plan.number].selected else 1)
    draft.primary = primary_sets(sets, draft.bindings, rank)
    draft.planning, draft.planning_link, draft.planning_problem = _planning_image(draft)
    return draft


def _planning_image(draft: CourseDraft) -> tuple[int | None, str, str]:
    """(object number, link, why there is none). Fails closed: no image stands in for the one a plan was made on."""
    if draft.selected_plans:
        return _of_plans(draft)
    bound = [draft.bindings[n].part for n in draft.primary]
    parts = [draft.things[n] for n in bound if n is not None and n in draft.things]
    if parts:
        return min(parts, key=volume_order).number, "structure_set", ""
    if draft.of("rtstruct"):
        return None, "", "no structure set's image is in the export"
    doses = draft.of("rtdose")
    if doses:
        frames = {f for d in doses for f in frames_of(d)}
        fitting = sorted((v for v in draft.volumes if v.frame_uid in frames), key=volume_order)
        if fitting and sum(volume_order(v)[0] == volume_order(fitting[0])[0] for v in fitting) == 1:
            return fitting[0].number, "frame_of_reference", ""
        return None, "", "no image lies alone in the frame of reference of the dose"
    usable = [v for v in draft.volumes if v.image and v.image.image_class in PLANNING_BY_DEFAULT]
    if usable:
        whole = [v for v in usable if v.image and v.image.separable]
        return min(whole or usable, key=volume_order).number, "study", ""
    return None, "", "no image that can be used"


def _of_plans(draft: CourseDraft) -> tuple[int | None, str, str]:
    problem = ""
    for plan in draft.selected_plans:
        structure_set = draft.structure_set_of(plan)
        if structure_set is None:
            stated = plan.facts.get("structure_set_uid")
            why = "references a structure set that is not in the export" if stated else "references no structure set"
        else:
            part = draft.bindings[structure_set.number].part
            if part is not None and part in draft.things:
                return part, "plan_structure_set", ""
            why = "references a structure set whose image is not in the export"
        problem = problem or f"the leading plan {why}"
    return None, "", problem
