"""The manifests that travel between stages: `courses.json` of organize and `stage.json` of every stage.

Nothing here names a patient, a path, a date or an original UID: objects have ids within their course, and times are days
from the course's day 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ImageRef(_Model):
    """One image series (or a part of one that was split off) of a course."""

    image_id: str
    """`ct-01`, `mr-01`, `pt-01`: modality and number in order of date, then of keyed hash"""
    object_hash: str
    modality: Literal["CT", "MR", "PT"]
    image_class: str
    """`ct`, `ct_4d_phase`, `ct_4d_average`, `ct_mip`, `cbct`, `mr`, `pt`, `localizer`"""
    role: Literal["planning", "secondary"]
    prepare: bool
    """prepare_images converts it: the planning image, images with a structure set, or all when configured"""
    instances: int
    frame_hash: str | None
    day: int | None
    link: str
    """why it belongs to the course: `plan_structure_set`, `structure_set`, `frame_of_reference`, `study`, `registration`,
    `date` (same patient, within course_gap_days)"""
    series_description_class: str = ""
    """coarse class of the description, never its text"""


class StructureSetRef(_Model):
    """One RTSTRUCT of a course."""

    structure_set_id: str
    """`rs-01` ..."""
    object_hash: str
    role: Literal["primary", "other"]
    image_id: str | None
    image_link: Literal["series", "images", "frame_of_reference", "none"]
    """the rule that bound it to its image; `frame_of_reference` is the weaker one and carries a finding"""
    frame_hash: str | None
    approval_status: str | None
    referenced_by_plan: bool
    rois: int
    day: int | None


class PlanRef(_Model):
    """One RTPLAN or RT Ion Plan of a course."""

    plan_id: str
    """`plan-01` ... in order of date"""
    object_hash: str
    plan_class: Literal["photon", "ion", "brachy", "unknown"]
    structure_set_id: str | None
    selected: bool
    """false: listed with its facts, its dose gets no row (rejected, verification)"""
    reason: str
    approval_status: str | None
    intent: str | None
    day: int | None


class DoseRef(_Model):
    """One RTDOSE object of a course. What becomes a dose of the tables is decided in prepare_rt."""

    rtdose_id: str
    """`rd-01` ..."""
    object_hash: str
    plan_ids: list[str]
    structure_set_id: str | None
    frame_hash: str | None
    summation_type: str
    units: str
    dose_type: str
    has_pixels: bool
    day: int | None


class OtherRef(_Model):
    """A registration or treatment record of a course."""

    object_id: str
    """`reg-01`, `rec-01`"""
    object_hash: str
    kind: Literal["reg", "rtrecord", "rtimage", "seg", "other"]
    plan_ids: list[str] = Field(default_factory=list)
    day: int | None = None


class Covariates(_Model):
    """What a cohort is stratified by."""

    age_years: int | None = None
    """at day 0, capped at 89"""
    sex: str | None = None
    scanner: str | None = None
    """manufacturer and model of the planning image"""
    contrast: bool | None = None


class ManifestRow(_Model):
    """One row of the user's manifest, resolved to this course by organize."""

    plan_id: str | None = None
    structure: str | None = None
    """structure name as in the file; None for the whole plan or course"""
    rx_gy: float | None = None
    fractions_delivered: int | None = None
    alpha_beta_gy: float | None = None
    include: bool | None = None


CourseKind = Literal[
    "planned", "plan_only", "structures_only", "images_only", "dose_only", "structures_and_dose", "other"
]


class Course(_Model):
    """One course of one patient: what organize found, linked and selected."""

    course_id: str
    patient_id: str
    course_order: int
    """rank by date within the patient today; the number in the id never changes"""
    course_kind: CourseKind
    status: Literal["ok", "excluded"] = "ok"
    excluded_by: list[str] = Field(default_factory=list)
    """finding codes, when excluded"""
    image_digest: str
    """12 hex over the instances of the images to prepare"""
    course_digest: str
    """12 hex over every selected object and the course's rows of the user's manifest"""
    demo: bool = False
    """every object carries the demo's marker, so that the phantom networks may load"""
    images: list[ImageRef] = Field(default_factory=list)
    structure_sets: list[StructureSetRef] = Field(default_factory=list)
    plans: list[PlanRef] = Field(default_factory=list)
    doses: list[DoseRef] = Field(default_factory=list)
    others: list[OtherRef] = Field(default_factory=list)
    covariates: Covariates = Field(default_factory=Covariates)
    manifest: list[ManifestRow] = Field(default_factory=list)

    @property
    def planning_image(self) -> ImageRef | None:
        """The image with role `planning`, if the export holds it."""
        return next((i for i in self.images if i.role == "planning"), None)

    @property
    def is_images_only(self) -> bool:
        """Whether nothing in it has a use without its images: no structure set, plan or dose."""
        return not (self.structure_sets or self.plans or self.doses)


class Patient(_Model):
    """One patient of the cohort: listed even when nothing of theirs can be used."""

    patient_id: str
    courses: list[str]
    objects: int
    kind: str
    """the kinds of its courses joined with +, or `nothing_usable`"""
    status: Literal["ok", "excluded", "nothing_usable"]


class CohortManifest(_Model):
    """`courses.json`: the result of organize."""

    schema_version: int = SCHEMA_VERSION
    cohort: str
    patients: list[Patient]
    courses: list[Course]
    counts: dict[str, int]
    """objects by kind and by use"""

    def course(self, course_id: str) -> Course:
        """The course with this id.

        Raises
        ------
        KeyError: there is none.
        """
        for course in self.courses:
            if course.course_id == course_id:
                return course
        raise KeyError(course_id)

    @classmethod
    def load(cls, folder: Path) -> CohortManifest:
        """Read `courses.json` of organize's output folder."""
        return cls.model_validate_json((folder / "courses.json").read_bytes())

    def save(self, folder: Path) -> None:
        """Write `courses.json` (same content, same bytes)."""
        (folder / "courses.json").write_text(self.model_dump_json(indent=1) + "\n")


StageStatus = Literal["done", "partial", "not_applicable", "disabled", "not_run", "data_error", "fault"]
FINAL_STATUSES: tuple[StageStatus, ...] = ("done", "partial", "not_applicable", "disabled", "not_run", "data_error")
"""Not computed again by `run`. `retry` computes `partial` again; a `fault` is tried again by every run."""


UNUSABLE_STATUSES: tuple[StageStatus, ...] = ("fault", "data_error")
"""Hard dependants are omitted, as behind a failed pod; what merely does not apply is no obstacle to them."""


class Upstream(_Model):
    """How an upstream stage stood when this one ran."""

    key: str | None
    status: str
    """a StageStatus, or `absent`"""
    output_digest: str | None


class StageRecord(_Model):
    """`stage.json`: written last; without it the output folder does not count."""

    schema_version: int = SCHEMA_VERSION
    stage: str
    stage_version: int
    stage_key: str
    cohort: str
    course_id: str | None
    status: StageStatus
    reason: str = ""
    output_digest: str
    """sha256 over the sorted (path, sha256) of the output files, stage.json and log apart"""
    upstream: dict[str, Upstream]
    config: dict[str, Any]
    """the stage's slice of the resolved configuration"""
    settings_digest: str
    versions: dict[str, str]
    weights: dict[str, str] = Field(default_factory=dict)
    """file name to sha256"""
    device: str = "cpu"
    threads: int = 1
    seed: int = 0
    findings: list[dict[str, Any]] = Field(default_factory=list)
    counts: dict[str, int] = Field(default_factory=dict)
    started_utc: str = ""
    ended_utc: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_mib: float = 0.0
    host: str = ""
    rtpipeline_version: str = ""
    exit_code: int = 0
    traceback: str = ""

    @classmethod
    def load(cls, folder: Path) -> StageRecord | None:
        """The record of an output folder; None when the folder is not complete."""
        path = folder / "stage.json"
        return cls.model_validate_json(path.read_bytes()) if path.is_file() else None
