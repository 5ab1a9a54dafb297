"""A patient's components of linked objects as courses: by date, then by study or frame of reference.

Plans and doses make courses. Structure sets and images without a plan join the nearest course, but never bridge two:
follow-up scans every two months do not make one course of two treatments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rtpipeline.organize.components import UnionFind, grouped
from rtpipeline.organize.objects import ScanObject, is_uid
from rtpipeline.organize.structure_sets import frames_of

TIERS = (("rtplan", "rtdose"), ("rtstruct",), ("image",))


@dataclass
class Cluster:
    """Objects that become one course."""

    numbers: list[int]
    tier: int
    days: set[int]
    studies: set[str]
    frames: set[str]
    weak: list[str] = field(default_factory=list)
    """rules weaker than a reference or a date that joined something"""

    def absorb(self, other: Cluster, *, with_days: bool, weak: str = "") -> None:
        """Take over the objects of another; registrations, records and the like lend it no study or frame."""
        self.numbers += other.numbers
        if other.tier < len(TIERS):
            self.studies |= other.studies
            self.frames |= other.frames
        self.weak += [*other.weak, *([weak] if weak else [])]
        if with_days:
            self.days |= other.days
            self.tier = min(self.tier, other.tier)

    def gap_days(self, other: Cluster) -> int | None:
        """Smallest distance between their dates; None when one has none."""
        return min((abs(a - b) for a in self.days for b in other.days), default=None)


def cluster_of(things: Sequence[ScanObject], gap_days: int) -> Cluster:
    """A component, with the dates that place it in time.

    Those of its plans and treatment records, and of images near them; without a plan those of its images, else of its
    structure sets (which may be drawn years later), else of its doses.
    """
    kinds = {t.kind for t in things}
    tier = next((i for i, names in enumerate(TIERS) if kinds & set(names)), len(TIERS))

    def days(*names: str) -> set[int]:
        return {t.day for t in things if t.kind in names and t.day is not None}

    if "rtplan" in kinds and days("rtplan", "rtrecord"):
        placed = days("rtplan", "rtrecord")
        placed |= {d for d in days("image") if any(abs(d - p) <= gap_days for p in placed)}
    else:
        choices = (days("image"), days("rtstruct"), days("rtdose"), days("rtplan", "rtrecord", "reg", "rtimage", "seg"))
        placed = next((c for c in choices if c), set())
    return Cluster(
        numbers=[t.number for t in things],
        tier=tier,
        days=placed,
        studies={t.study_uid for t in things if is_uid(t.study_uid)},
        frames={f for t in things for f in frames_of(t)},
    )


def group_courses(components: Sequence[Cluster], gap_days: int) -> list[Cluster]:
    """The courses of one patient."""
    courses: list[Cluster] = []
    for tier in range(len(TIERS) + 1):
        waiting = [c for c in components if c.tier == tier]
        lonely = []
        for one in waiting:
            if tier == 0 or not _attach(one, courses, gap_days):
                lonely.append(one)
        courses += _joined(lonely, _near(gap_days), "")
        courses = _joined(courses, _same_study_and_frame, "study and frame of reference")
    return courses


def _attach(one: Cluster, courses: Sequence[Cluster], gap_days: int) -> bool:
    """Give a component to the course of its study, else to the nearest in time, else to the one of its frame."""

    def nearest(among: Iterable[Cluster]) -> Cluster | None:
        ranked = [(one.gap_days(c) if one.days and c.days else 10**9, min(c.days, default=10**9), i, c)
                  for i, c in enumerate(among)]  # fmt: skip
        return min(ranked, key=lambda r: r[:3])[3] if ranked else None

    by_study = nearest(c for c in courses if one.tier >= 2 and c.studies & one.studies)
    by_frame_of_registration = nearest(c for c in courses if one.tier >= len(TIERS) and c.frames & one.frames)
    by_date = nearest(c for c in courses if (gap := one.gap_days(c)) is not None and gap <= gap_days)
    found = by_frame_of_registration or by_study or by_date
    weak = ""
    if found is None and not one.days:
        found = nearest(c for c in courses if c.studies & one.studies)
        weak = "study"
    if found is None and not one.days:
        found = nearest(c for c in courses if c.frames & one.frames)
        weak = "frame of reference"
    if found is None:
        return False
    found.absorb(one, with_days=False, weak=weak)
    return True


def _near(gap_days: int) -> Callable[[Cluster, Cluster], bool]:
    def near(a: Cluster, b: Cluster) -> bool:
        gap = a.gap_days(b)
        return gap is not None and gap <= gap_days

    return near


def _same_study_and_frame(a: Cluster, b: Cluster) -> bool:
    return bool(a.studies & b.studies and a.frames & b.frames)


def _joined(clusters: Sequence[Cluster], belong: Callable[[Cluster, Cluster], bool], weak: str) -> list[Cluster]:
    """Clusters of which any two that belong together are one."""
    sets = UnionFind()
    for i, one in enumerate(clusters):
        for j in range(i):
            if sets.find(("object", i)) != sets.find(("object", j)) and belong(one, clusters[j]):
                sets.union(("object", i), ("object", j))
    found = []
    for members in grouped(sets, range(len(clusters))):
        first = clusters[members[0]]
        for other in members[1:]:
            first.absorb(clusters[other], with_days=True, weak=weak)
        found.append(first)
    return found
