"""A small store made from the declared tables alone: courses of every status, with dose-volume curves in closed form.

The dose in a structure is normally distributed, so its curve is a Gaussian tail and D50 is its mean.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from rtpipeline import __version__
from rtpipeline.config import Config
from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.manifests import (
    CohortManifest,
    Course,
    Covariates,
    DoseRef,
    ImageRef,
    Patient,
    PlanRef,
    StageRecord,
    StructureSetRef,
    Upstream,
)
from rtpipeline.contracts.tables import DVH_CURVES, DVH_METRICS, STRUCTURES
from rtpipeline.execution.context import StageContext
from rtpipeline.stages import COURSE_STAGES

COHORT = "demo"
RUN_ID = "run-1"
ORGANIZE_KEY = "0" * 12 + "-" + "1" * 12
EVIL_NAME = '=HYPERLINK("http://x")<script>alert(1)</script>'
RX_GY = 50.0


@dataclass(frozen=True)
class Roi:
    """A structure with a normal distribution of dose; sigma 0 stands for no dose row."""

    number: int
    name: str
    roi_type: str | None
    volume_cc: float
    mean_gy: float
    sigma_gy: float
    status: str = "ok"
    dose_status: str = "ok"

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Dose levels (Gy) and the volume (cc) at or above each."""
        dose = np.arange(0, self.mean_gy + 4 * self.sigma_gy + 0.5, 0.5)
        return dose, self.volume_cc * norm.sf(dose, self.mean_gy, self.sigma_gy)


ROIS = (
    Roi(1, "PTV 50", "PTV", 180.0, 50.2, 0.9),
    Roi(2, "CTV", "CTV", 90.0, 50.6, 0.6),
    Roi(3, "Rectum", "ORGAN", 65.0, 24.0, 8.0),
    Roi(4, "Bladder", "ORGAN", 140.0, 18.0, 7.0),
    Roi(5, EVIL_NAME, "ORGAN", 12.0, 9.0, 2.0),
    Roi(6, "Body", "EXTERNAL", 21000.0, 8.0, 6.0, dose_status="low_coverage"),
    Roi(7, "Empty", None, 0.0, 0.0, 0.0, status="empty", dose_status="no_volume"),
)


@dataclass
class FabricatedCourse:
    """What a course shall look like: its stages' statuses, and where they are no output, how the run ended them."""

    course_id: str
    kind: str = "planned"
    excluded: bool = False
    statuses: dict[str, str] = field(default_factory=dict)
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    run_finding: Finding | None = None
    rois: tuple[Roi, ...] = ROIS
    demo_key: str = ""

    @property
    def patient_id(self) -> str:
        return self.course_id.rsplit("-c", 1)[0]

    def status(self, stage: str) -> str:
        default = {"segmentation": "disabled", "custom_models": "disabled", "radiomics": "disabled"}
        default |= {"robustness": "disabled", "qc": "disabled"}
        return self.statuses.get(stage, default.get(stage, "done"))


def key_of(stage: str, course_id: str) -> str:
    return f"{abs(hash_of(stage + course_id)):012x}-{abs(hash_of(stage)):012x}"


def hash_of(text: str) -> int:
    value = 0
    for byte in text.encode():
        value = (value * 131 + byte) % 16**12
    return value


def standard_courses() -> list[FabricatedCourse]:
    """One course of every status, and one with images alone."""
    missing = dict.fromkeys(COURSE_STAGES, "missing")
    return [
        FabricatedCourse(
            "p0000000001-c01",
            findings={
                "dvh": [finding("DOSE_GRID_COVERAGE", "rs-01 ROI 6 'Body'", "42.00 % of 21000.00 cc")],
                "structures": [finding("SS_ROI_EMPTY", "rs-01 ROI 7 'Empty'", "0 contours")],
            },
        ),
        FabricatedCourse(
            "p0000000002-c01",
            statuses={"dvh": "failed"},
            run_finding=finding("RES_MEMORY", "stage dvh", "8192 MiB on the last rung"),
        ),
        FabricatedCourse(
            "p0000000003-c01",
            excluded=True,
            statuses=dict.fromkeys(COURSE_STAGES, "not_applicable"),
        ),
        FabricatedCourse("p0000000004-c01", statuses=missing),
        FabricatedCourse(
            "p0000000005-c01", kind="images_only", statuses=dict.fromkeys(COURSE_STAGES, "not_applicable")
        ),
        FabricatedCourse("p0000000005-c02", statuses={"structures": "partial"}),
    ]


def fabricate(store: Path, courses: list[FabricatedCourse] | None = None, **files: Any) -> StageContext:
    """Write organize, every stage folder and the plan of a run below `store`; the context of aggregation on it.

    Parameters
    ----------
    files: for a stage, a function (folder, course) that writes further files into its output.
    """
    made = standard_courses() if courses is None else courses
    root = store / COHORT
    organize = root / "organize" / ORGANIZE_KEY
    organize.mkdir(parents=True)
    manifest(made).save(organize)
    cohort_findings = [finding("FILE_NOT_DICOM", "export", "3 files")]
    cohort_findings += [
        finding("PATIENT_MISMATCH", "component", "2 identities", course_id=c.course_id, patient_id=c.patient_id)
        for c in made
        if c.excluded
    ]
    (organize / "stage.json").write_text(record("organize", ORGANIZE_KEY, None, "done", cohort_findings))
    plan = {
        "run_id": RUN_ID,
        "cohort": COHORT,
        "config": Config().model_dump(mode="json"),
        "organize_key": ORGANIZE_KEY,
        "settings": dict.fromkeys(COURSE_STAGES, "1" * 12),
        "courses": [{"course_id": c.course_id, "stages": planned(root, c, files)} for c in made],
    }
    run = root / "runs" / RUN_ID
    run.mkdir(parents=True)
    (run / "plan.json").write_text(json.dumps(plan))
    out = root / "results" / RUN_ID
    out.mkdir(parents=True)
    return StageContext(
        stage="aggregation",
        cohort=COHORT,
        config=Config(),
        out=out,
        inputs={"organize": organize},
        store=root,
        run_id=RUN_ID,
    )


def planned(root: Path, course: FabricatedCourse, files: dict[str, Any]) -> dict[str, Any]:
    stages: dict[str, Any] = {}
    for stage in COURSE_STAGES:
        status, key = course.status(stage), key_of(stage, course.course_id)
        folder = Path("courses", course.course_id, stage, key)
        if status == "missing":
            continue
        stages[stage] = {"key": key, "folder": folder.as_posix(), "status": status, "reason": ""}
        if status in ("failed", "omitted"):
            if course.run_finding is not None:
                stages[stage]["finding"] = course.run_finding.for_course(course.course_id, course.patient_id).row()
            continue
        write_stage(root / folder, stage, key, course, status)
        if stage in files and status in ("done", "partial"):
            files[stage](root / folder, course)
    return stages


def write_stage(folder: Path, stage: str, key: str, course: FabricatedCourse, status: str) -> None:
    folder.mkdir(parents=True)
    found = [
        f.for_course(course.course_id, course.patient_id).from_stage(stage) for f in course.findings.get(stage, [])
    ]
    if status in ("done", "partial"):
        if stage == "structures":
            STRUCTURES.write(STRUCTURES.frame(structure_rows(course)), folder / "structures.parquet")
        if stage == "dvh":
            DVH_METRICS.write(DVH_METRICS.frame(metric_rows(course)), folder / "dvh_metrics.parquet")
            DVH_CURVES.write(DVH_CURVES.frame(curve_rows(course)), folder / "dvh_curves.parquet")
    (folder / "stage.json").write_text(record(stage, key, course.course_id, status, found))


def record(stage: str, key: str, course_id: str | None, status: Any, findings: list[Finding]) -> str:
    return StageRecord(
        stage=stage,
        stage_version=1,
        stage_key=key,
        cohort=COHORT,
        course_id=course_id,
        status=status,
        output_digest="0" * 64,
        upstream={"organize": Upstream(key=ORGANIZE_KEY, status="done", output_digest=None)},
        config={},
        settings_digest="1" * 12,
        versions={"numpy": "2.4.1", "numba": "0.62.0", "pydicom": "3.0.2"},
        wall_s=1.5,
        peak_memory_mib=300.0,
        rtpipeline_version=__version__,
        host="workstation-of-someone",
        findings=[f.row() for f in findings],
    ).model_dump_json()


def keys(course: FabricatedCourse, roi: Roi) -> dict[str, Any]:
    return {
        "cohort": COHORT,
        "patient_id": course.patient_id,
        "course_id": course.course_id,
        "image_id": "ct-01",
        "modality": "CT",
        "structure_set_id": "rs-01",
        "structure_source": "manual",
        "structure_id": f"manual-rs-01-{roi.number:04d}",
        "structure_name": roi.name,
        "structure_name_tg263": None,
    }


def structure_rows(course: FabricatedCourse) -> list[dict[str, Any]]:
    return [
        {
            **keys(course, roi),
            "roi_number": roi.number,
            "roi_type": roi.roi_type,
            "set_role": "primary",
            "status": roi.status,
            "volume_cc": roi.volume_cc or None,
            "contours": 10,
            "planes": 10,
            "plane_spacing_mm": 3.0,
            "gaps": 0,
            "components_z": 1,
            "end_cap": "prism",
            "stage_key": key_of("structures", course.course_id),
            "rtpipeline_version": __version__,
        }
        for roi in course.rois
    ]


def metric_rows(course: FabricatedCourse) -> list[dict[str, Any]]:
    rows = []
    for roi in course.rois:
        row = {
            **keys(course, roi),
            "dose_id": "plan-01",
            "roi_type": roi.roi_type,
            "dose_status": roi.dose_status,
            "volume_cc": roi.volume_cc or None,
            "dose_basis": "plan",
            "dose_type": "PHYSICAL",
            "dose_link": "plan",
            "stage_key": key_of("dvh", course.course_id),
            "rtpipeline_version": __version__,
        }
        if roi.dose_status == "ok":
            dose = norm(roi.mean_gy, roi.sigma_gy)
            row |= {
                "dose_coverage_pct": 100.0,
                "dmin_gy": float(dose.ppf(1e-3)),
                "dmax_gy": float(dose.ppf(1 - 1e-3)),
                "dmean_gy": roi.mean_gy,
                **{f"d{p}_gy": float(dose.isf(p / 100)) for p in (98, 95, 50, 2)},
                "v20gy_pct": float(100 * dose.sf(20)),
            }
        if roi.dose_status == "low_coverage":
            row |= {"dose_coverage_pct": 42.0, "dmax_gy": 54.0}
        if roi.roi_type in ("PTV", "CTV"):
            row |= {"rx_gy": RX_GY, "prescription_source": "plan_roi", "v95rx_pct": float(100 * dose.sf(0.95 * RX_GY))}
        rows.append(row)
    return rows


def curve_rows(course: FabricatedCourse) -> list[dict[str, Any]]:
    rows = []
    for roi in course.rois:
        if roi.sigma_gy:
            dose_gy, volume_cc = roi.curve()
            rows.append(
                {
                    **keys(course, roi),
                    "dose_id": "plan-01",
                    "dose_gy": dose_gy.tolist(),
                    "cumulative_volume_cc": volume_cc.tolist(),
                    "stage_key": key_of("dvh", course.course_id),
                    "rtpipeline_version": __version__,
                }
            )
    return rows


def manifest(courses: list[FabricatedCourse]) -> CohortManifest:
    patients: dict[str, list[FabricatedCourse]] = {}
    for course in courses:
        patients.setdefault(course.patient_id, []).append(course)
    return CohortManifest(
        cohort=COHORT,
        patients=[
            Patient(
                patient_id=patient_id,
                courses=[c.course_id for c in own],
                objects=10,
                kind="planned",
                status="excluded" if all(c.excluded for c in own) else "ok",
            )
            for patient_id, own in patients.items()
        ],
        courses=[manifest_course(c) for c in courses],
        counts={"objects": 10 * len(courses)},
    )


def manifest_course(course: FabricatedCourse) -> Course:
    planned_course = course.kind == "planned"
    image = ImageRef(
        image_id="ct-01",
        object_hash="a" * 12,
        modality="CT",
        image_class="ct",
        role="planning" if planned_course else "secondary",
        prepare=True,
        instances=120,
        frame_hash="f" * 12,
        day=0,
        link="plan_structure_set",
    )
    structure_set = StructureSetRef(
        structure_set_id="rs-01",
        object_hash="b" * 12,
        role="primary",
        image_id="ct-01",
        image_link="series",
        frame_hash="f" * 12,
        approval_status="APPROVED",
        referenced_by_plan=True,
        rois=len(course.rois),
        day=0,
    )
    plan = PlanRef(
        plan_id="plan-01",
        object_hash="c" * 12,
        plan_class="photon",
        structure_set_id="rs-01",
        selected=True,
        reason="",
        approval_status="APPROVED",
        intent="CURATIVE",
        day=0,
    )
    dose = DoseRef(
        rtdose_id="rd-01",
        object_hash="d" * 12,
        plan_ids=["plan-01"],
        structure_set_id="rs-01",
        frame_hash="f" * 12,
        summation_type="PLAN",
        units="GY",
        dose_type="PHYSICAL",
        has_pixels=True,
        day=0,
    )
    return Course(
        course_id=course.course_id,
        patient_id=course.patient_id,
        course_order=int(course.course_id[-2:]),
        course_kind=course.kind,  # type: ignore[arg-type]
        status="excluded" if course.excluded else "ok",
        excluded_by=["PATIENT_MISMATCH"] if course.excluded else [],
        image_digest="1" * 12,
        course_digest="2" * 12,
        images=[image],
        structure_sets=[structure_set] if planned_course else [],
        plans=[plan] if planned_course else [],
        doses=[dose] if planned_course else [],
        covariates=Covariates(age_years=64, sex="F", scanner="Maker Model", contrast=False),
    )
