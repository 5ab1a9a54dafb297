"""A structure of any source: its row of the table `structures`, and its outline when it has a solid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtpipeline import __version__
from rtpipeline.contracts.manifests import Course
from rtpipeline.geometry.outlines import Outline
from rtpipeline.geometry.solid import EndCap, PrismSolid
from rtpipeline.nomenclature.mapping import NameMapping
from rtpipeline.nomenclature.match import NameMatch, match_name

MANUAL, TOTALSEGMENTATOR, CUSTOM, DERIVED, CROPPED = "manual", "totalsegmentator", "custom", "derived", "cropped"


@dataclass(frozen=True)
class Structure:
    """row: of the table `structures`. outline: what it is drawn by; None when it has no solid."""

    row: dict[str, Any]
    outline: Outline | None

    @property
    def key(self) -> tuple[str, str]:
        """structure_set_id and structure_id."""
        return self.row["structure_set_id"], self.row["structure_id"]

    @property
    def lies_on_image(self) -> bool:
        """Whether it has a volume on an image; `outside_image_pct` is null when the image says nothing about it."""
        known = self.row["image_id"] is not None and self.row["outside_image_pct"] is not None
        return self.outline is not None and self.row["status"] == "ok" and known


@dataclass(frozen=True)
class RowWriter:
    """What all rows of a course have in common."""

    cohort: str
    course: Course
    stage_key: str
    mapping: NameMapping | None = None
    end_cap: EndCap = "shape"
    """of the solid that volume and centroid are those of, as in the DVH"""

    def structure(
        self,
        *,
        image_id: str | None,
        set_id: str,
        source: str,
        structure_id: str,
        name: str,
        status: str,
        outline: Outline | None = None,
        solid: PrismSolid | None = None,
        outside_image_pct: float | None = None,
        extra: Mapping[str, Any] | None = None,
        match: NameMatch | None = None,
    ) -> Structure:
        """A structure measured as its solid.

        Parameters
        ----------
        outline: None when there is no solid. solid: the literal one, of the outline's contours. extra: further columns.
        match: instead of the match of its own name.
        """
        match = match or match_name(name, source=source, mapping=self.mapping)
        image = next((i for i in self.course.images if i.image_id == image_id), None)
        closed = outline.closed(solid, self.end_cap) if outline is not None and solid is not None else None
        centroid = closed.centroid_xyz_mm if closed is not None else None
        x_mm, y_mm, z_mm = (float(c) for c in centroid) if centroid is not None else (None, None, None)
        row = {
            "cohort": self.cohort,
            "patient_id": self.course.patient_id,
            "course_id": self.course.course_id,
            "image_id": image_id,
            "modality": image.modality if image else None,
            "structure_set_id": set_id,
            "structure_source": source,
            "structure_id": structure_id,
            "structure_name": name,
            "structure_name_tg263": match.tg263,
            "tg263_evidence": match.evidence,
            "roi_number": None,
            "roi_type": None,
            "set_role": "other",
            "status": status,
            "volume_cc": closed.volume_cc if closed else None,
            "contours": len(outline.contours) - solid.n_degenerate_contours if outline and solid else 0,
            "planes": len(solid.plane_offsets_mm) if solid else 0,
            "plane_spacing_mm": solid.nominal_spacing_mm if solid else None,
            "gaps": solid.n_gaps if solid else None,
            "components_z": solid.n_gaps + 1 if solid else None,
            "centroid_x_mm": x_mm,
            "centroid_y_mm": y_mm,
            "centroid_z_mm": z_mm,
            "outside_image_pct": outside_image_pct,
            "end_cap": closed.end_cap if closed else None,
            "derived_from": None,
            "stage_key": self.stage_key,
            "rtpipeline_version": __version__,
            **(extra or {}),
        }
        return Structure(row, outline)

    def of_voxels(self, outline: Outline, *, outside_image_pct: float = 0.0, **keys: Any) -> Structure:
        """A structure whose outline runs along voxels; without any it is `empty`."""
        if not outline.contours:
            return self.structure(status="empty", **keys)
        return self.structure(
            status="ok", outline=outline, solid=outline.solid(), outside_image_pct=outside_image_pct, **keys
        )
