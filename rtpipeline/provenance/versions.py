"""What computed a run: versions by stage, as the stages recorded them, and how the stages ended."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rtpipeline import __version__
from rtpipeline.contracts.manifests import StageRecord
from rtpipeline.stages import STAGES


@dataclass(frozen=True)
class StageUse:
    """One stage over all courses of a run."""

    stage: str
    statuses: dict[str, int] = field(default_factory=dict)
    """status to number of courses (1 for a stage of the cohort)"""
    versions: dict[str, list[str]] = field(default_factory=dict)
    """library to the versions that computed its outputs: more than one when those of an older run were kept"""
    rtpipeline: list[str] = field(default_factory=list)
    """versions of this program that wrote its outputs"""
    wall_s: float = 0.0
    """sum over courses"""
    peak_memory_mib: float = 0.0
    """largest over courses"""

    @property
    def computed(self) -> bool:
        """Whether the stage gave numbers for any course."""
        return any(self.statuses.get(s) for s in ("done", "partial"))

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "statuses": self.statuses,
            "versions": self.versions,
            "rtpipeline": self.rtpipeline,
            "wall_s": self.wall_s,
            "peak_memory_mib": self.peak_memory_mib,
        }


def stage_use(stage: str, statuses: Iterable[str], records: Iterable[StageRecord]) -> StageUse:
    """Sum up one stage; versions come from outputs that hold numbers."""
    counted: dict[str, int] = {}
    for status in statuses:
        counted[status] = counted.get(status, 0) + 1
    records = list(records)
    versions: dict[str, set[str]] = {}
    programs: set[str] = set()
    for record in records:
        if record.status in ("done", "partial"):
            programs |= {record.rtpipeline_version} - {""}
            for library, version in record.versions.items():
                versions.setdefault(library, set()).add(version)
    return StageUse(
        stage=stage,
        statuses=dict(sorted(counted.items())),
        versions={library: sorted(found) for library, found in sorted(versions.items())},
        rtpipeline=sorted(programs),
        wall_s=round(sum(r.wall_s for r in records), 3),
        peak_memory_mib=max((r.peak_memory_mib for r in records), default=0.0),
    )


def libraries(uses: Iterable[StageUse]) -> dict[str, list[str]]:
    """Every library with the versions that took part in the run, by name."""
    found: dict[str, set[str]] = {}
    for use in uses:
        for library, versions in use.versions.items():
            found.setdefault(library, set()).update(v for v in versions if v != "absent")
    return {library: sorted(found[library]) for library in sorted(found, key=str.lower) if found[library]}


def program() -> dict[str, str]:
    """The program that aggregated: its version and its interpreter."""
    return {"rtpipeline": __version__, "python": platform.python_version()}


def in_table_order(uses: dict[str, StageUse]) -> list[StageUse]:
    """Stages in the order of the stage table."""
    return [uses[name] for name in STAGES if name in uses]
