"""What organize has to say about a course: one finding for each thing that was refused, replaced or left aside."""

from __future__ import annotations

from collections.abc import Container, Iterator

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.organize.courses import CourseDraft, is_scout
from rtpipeline.organize.objects import ScanObject
from rtpipeline.organize.structure_sets import Binding, drawing_ground, frames_of

NEEDS_IMAGE = ("planned", "structures_only", "structures_and_dose")
FOUR_D_CLASSES = {"ct_4d_phase": "phases", "ct_4d_average": "averages", "ct_mip": "projections"}


def course_findings(draft: CourseDraft, ids: dict[int, str], prepared: Container[str]) -> list[Finding]:
    """Every finding of one course; the caller ties them to it. prepared: ids of the images to prepare."""
    return [
        *_about_the_course(draft),
        *_about_images(draft, ids, prepared),
        *_about_structure_sets(draft, ids),
        *_about_plans(draft, ids),
        *_about_others(draft, ids),
    ]


def _about_the_course(draft: CourseDraft) -> Iterator[Finding]:
    if draft.conflict:
        yield finding(
            "PATIENT_MISMATCH",
            "course",
            f"linked objects disagree in {draft.conflict}",
            action="course left out",
            remedy="correct the patient at the source, or name the plan with include = yes in the manifest",
        )
    for rule in sorted(set(draft.weak)):
        yield finding("LINK_WEAK", "course", f"joined by {rule} only")
    if draft.kind in NEEDS_IMAGE and draft.planning is None:
        yield finding("COURSE_NO_PLANNING_IMAGE", "course", draft.planning_problem)


def _about_images(draft: CourseDraft, ids: dict[int, str], prepared: Container[str]) -> Iterator[Finding]:
    scouts = [p for p in draft.images if is_scout(p)]
    for part in draft.images:
        image = part.image
        assert image is not None
        if not image.separable and ids[part.number] not in prepared:
            # what becomes of one that is prepared is decided, and reported, when its pixels are compared
            yield finding(
                "IMG_DUPLICATE_POSITION",
                ids[part.number],
                f"{image.instances} slices, some at one position and alike in every attribute",
                severity="W",
                action="listed, not prepared",
            )
        elif image.split_by == "left_over":
            yield finding(
                "IMG_DUPLICATE_POSITION",
                ids[part.number],
                f"{image.instances} slices where the referenced image has one",
                severity="W",
                action="slices that no structure set references left out",
            )
        elif is_scout(part) and image.split_from_series:
            yield finding("IMG_LOCALIZER_MIXED", ids[part.number], f"{image.instances} slices")
    yield from _about_split_series(draft, ids)
    yield from _about_4d(draft, ids)
    lone = [p for p in scouts if p.image and not p.image.split_from_series]
    if lone:
        names = ", ".join(ids[p.number] for p in lone)
        yield finding("OBJECT_NOT_USED", names, f"{len(lone)} series of scouts or report pages", scope="image")


def _about_split_series(draft: CourseDraft, ids: dict[int, str]) -> Iterator[Finding]:
    """Series that hold several whole volumes."""
    split: dict[str, list[ScanObject]] = {}
    for part in draft.volumes:
        if part.image and part.image.split_by not in ("", "left_over"):
            split.setdefault(part.uid, []).append(part)
    for parts in split.values():
        image = parts[0].image
        if image is not None and len(parts) > 1:
            yield finding(
                "IMG_DUPLICATE_POSITION",
                ", ".join(ids[p.number] for p in parts),
                f"{len(parts)} volumes under one series UID, told apart by {image.split_by}",
                severity="I",
                action="taken as images of their own",
                remedy="none needed",
            )


def _about_4d(draft: CourseDraft, ids: dict[int, str]) -> Iterator[Finding]:
    groups: dict[tuple[str, str], list[ScanObject]] = {}
    for part in draft.volumes:
        if part.image and part.image.image_class in FOUR_D_CLASSES:
            groups.setdefault((part.study_uid, part.frame_uid), []).append(part)
    for parts in groups.values():
        kinds = [p.image.image_class for p in parts if p.image]
        counted = [f"{kinds.count(kind)} {word}" for kind, word in FOUR_D_CLASSES.items() if kind in kinds]
        planning = ids[draft.planning] if draft.planning is not None else "none"
        names = ", ".join(ids[p.number] for p in parts)
        yield finding("IMG_4DCT", names, f"{', '.join(counted)}; planning image {planning}")


def _about_structure_sets(draft: CourseDraft, ids: dict[int, str]) -> Iterator[Finding]:
    rivals: dict[object, list[ScanObject]] = {}
    for one in draft.of("rtstruct"):
        binding = draft.bindings[one.number]
        rivals.setdefault(drawing_ground(one, binding), []).append(one)
        yield from _about_binding(draft, ids, one, binding)
    for sets in rivals.values():
        if len(sets) > 1:
            first = next(s for s in sets if s.number in draft.primary)
            names = ", ".join(ids[s.number] for s in sets)
            yield finding("SS_MULTIPLE", names, f"{len(sets)} structure sets; primary {ids[first.number]}")


def _about_binding(draft: CourseDraft, ids: dict[int, str], one: ScanObject, binding: Binding) -> Iterator[Finding]:
    name = ids[one.number]
    stated = f"{binding.referenced} images referenced" if binding.referenced else "a series referenced"
    stated = f"{stated}, none in the export" if binding.names_images else "no image referenced"
    if binding.link == "images":
        if binding.present < binding.referenced:
            yield finding(
                "IMG_MISSING_SLICE",
                ids.get(binding.part or -1, "image"),
                f"{binding.present} of the {binding.referenced} images that {name} references",
                severity="W",
                action="kept; gaps are judged when the volume is made",
            )
    elif binding.link == "series":
        if binding.referenced:
            yield finding(
                "SS_REFERENCES_OTHER_SERIES",
                name,
                f"{stated}; other images of the referenced series are",
                severity="W",
                action=f"bound to {ids.get(binding.part or -1, 'that series')}",
            )
    elif binding.link == "frame_of_reference":
        yield finding(
            "SS_REFERENCES_OTHER_SERIES",
            name,
            f"{stated}; its contours lie on the slices of one image of its frame of reference",
            severity="W",
            action=f"bound to {ids.get(binding.part or -1, 'it')}",
        )
    elif draft.volumes:  # without any image COURSE_NO_PLANNING_IMAGE says it all
        yield finding(
            "SS_REFERENCES_OTHER_SERIES",
            name,
            stated,
            action="bound to no image; its DVH needs none",
        )


def _about_plans(draft: CourseDraft, ids: dict[int, str]) -> Iterator[Finding]:
    by_set: dict[str, list[str]] = {}
    for plan in draft.of("rtplan"):
        choice = draft.choices[plan.number]
        if choice.flagged:
            action = "kept" if choice.selected else "listed, not used"
            yield finding("PLAN_STATUS", ids[plan.number], choice.reason, action=action)
        if choice.selected and plan.facts.get("structure_set_uid"):
            by_set.setdefault(plan.facts["structure_set_uid"], []).append(ids[plan.number])
    for names in by_set.values():
        if len(names) > 1:
            yield finding("PLAN_MULTIPLE", ", ".join(names), f"{len(names)} plans on one structure set")


def _about_others(draft: CourseDraft, ids: dict[int, str]) -> Iterator[Finding]:
    for kind, word in (("rtimage", "RT images"), ("seg", "segmentations")):
        things = draft.of(kind)
        if things:
            yield finding("OBJECT_NOT_USED", ", ".join(ids[t.number] for t in things), f"{len(things)} {word}")
    for registration in draft.of("reg"):
        if registration.facts.get("valid", True) and not _ties_something(draft, registration):
            yield finding("OBJECT_NOT_USED", ids[registration.number], "registration of frames that no object lies in")


def _ties_something(draft: CourseDraft, registration: ScanObject) -> bool:
    frames = frames_of(registration)
    return any(frames & frames_of(t) for t in draft.things.values() if t.kind != "reg")
