"""The parsed RT objects of a course, by id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtpipeline.contracts.manifests import Course
from rtpipeline.dicom.rtdose import RtDose
from rtpipeline.dicom.rtplan import RtPlan
from rtpipeline.dicom.rtrecord import Delivered
from rtpipeline.dose.frames import FrameLink, Route, find_route


@dataclass
class CourseObjects:
    """The parsed objects of a course by id, and the plan id of a SOP instance UID."""

    course: Course
    plans: dict[str, RtPlan]
    doses: dict[str, RtDose]
    set_frames: dict[str, frozenset[str]]
    """frames of reference of each structure set's contours"""
    uids: dict[str, str]
    """object id to SOP instance UID, private"""
    links: list[FrameLink] = field(default_factory=list)
    delivered: list[Delivered] = field(default_factory=list)
    planes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """ids of the objects of one plane each that are joined under the first of them"""

    def plan_id_of(self, uid: str) -> str | None:
        """Plan id of a SOP instance UID; None for a plan outside the course."""
        return next((i for i in self.plans if uid and self.uids.get(i) == uid), None)

    def with_planes(self, rtdose_ids: Iterable[str]) -> list[str]:
        """The ids with those of the planes that were joined under one of them."""
        return [one for rtdose_id in rtdose_ids for one in self.planes.get(rtdose_id, (rtdose_id,))]

    def route(self, source: str, target: str, region_xyz_mm: NDArray[np.float64]) -> Route | None:
        """How registrations take coordinates of one frame of reference to another, see `find_route`."""
        return find_route(self.links, source, target, region_xyz_mm)
