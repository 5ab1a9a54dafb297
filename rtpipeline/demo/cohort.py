"""A cohort of synthetic patients on disk: `dicom/<odd folder or archive per patient>` and `truth.json`.

The same seed gives the same bytes. File names carry no order and say nothing of what is inside.
"""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from rtpipeline.demo.anatomy import Anatomy, build_anatomy
from rtpipeline.demo.grid import GridGeometry, axial_grid, store
from rtpipeline.demo.headers import Study, make_study, save
from rtpipeline.demo.linear_dose import LinearDose
from rtpipeline.demo.marker import DEMO_MANUFACTURER, DEMO_MODEL
from rtpipeline.demo.patients import DemoPatient, Phase
from rtpipeline.demo.phantom import Phantom, make_phantom
from rtpipeline.demo.rois import Roi, planes_z_mm
from rtpipeline.demo.small import covering_grid
from rtpipeline.demo.torso_rois import draw_structures
from rtpipeline.demo.truth import DEFINITIONS, TOLERANCES, PlannedDose, patient_truth
from rtpipeline.demo.write_ct import ct_datasets
from rtpipeline.demo.write_dvh import target_dvhs
from rtpipeline.demo.write_rtdose import rtdose_dataset
from rtpipeline.demo.write_rtplan import Plan, Prescription, rtplan_dataset
from rtpipeline.demo.write_rtrecord import rtrecord_dataset
from rtpipeline.demo.write_rtstruct import rtstruct_dataset

DOSE_MARGIN_MM = 10.0
"""Between the outermost contours and the outermost voxel centres of the dose grid."""

ZIP_DATE = (2024, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class MadePatient:
    """The objects of one patient, those that are exported, and what is true of them."""

    patient: DemoPatient
    datasets: list[Dataset]
    truth: dict[str, Any]


def make_cohort(out: Path, *, patients: int = 6, seed: int = 7) -> dict[str, Any]:
    """Write the first `patients` patients (kinds repeat after six) and return the content of `truth.json`.

    Raises ValueError for fewer than one patient, FileExistsError where `out/dicom` already exists.
    """
    if patients < 1:
        raise ValueError(f"patients must be at least 1, not {patients}")
    dicom = Path(out) / "dicom"
    dicom.mkdir(parents=True)
    truth: dict[str, Any] = {
        "seed": seed,
        "tolerances": TOLERANCES,
        "definitions": DEFINITIONS,
        "marker": {"manufacturer": DEMO_MANUFACTURER, "model": DEMO_MODEL},
        "patients": {},
    }
    for number in range(1, patients + 1):
        made = make_patient(DemoPatient(number), seed)
        path = _write(made, dicom, seed)
        entry = {"path": path.relative_to(out).as_posix(), "files": len(made.datasets), **made.truth}
        truth["patients"][made.patient.patient_id] = entry
    (Path(out) / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return truth


def make_patient(patient: DemoPatient, seed: int) -> MadePatient:
    """One patient's objects in memory."""
    kind = patient.kind
    study = make_study(
        seed,
        patient.patient_id,
        patient.patient_name,
        birth_date=patient.birth_date,
        sex=patient.sex,
        study_date=patient.date_after(0),
        study_id=f"S{patient.number}",
        accession_number=f"ACC24-{7000 + 13 * patient.number}",
        patient_position=kind.position,
    )
    anatomy = build_anatomy(seed * 1000 + patient.number)
    phantom = make_phantom(anatomy, kind.spacing_xyz_mm, kind.z_range_mm)
    ct = _ct(phantom, study)
    rois = draw_structures(anatomy, kind.names, planes_z_mm(ct), keyhole=kind.keyhole, number_step=kind.roi_number_step)
    structure_set = rtstruct_dataset(list(rois.values()), study, ct) if rois else None
    planned, rt = [], []
    for phase in kind.phases:
        dose, objects = _plan_and_doses(patient, phase, study, structure_set, rois, anatomy)
        planned.append(dose)
        rt += objects
    datasets = [*(ct if kind.exports_ct else []), *([structure_set] if structure_set is not None else []), *rt]
    lesion_cc = float(phantom.lesion.sum() * np.prod(phantom.spacing_mm)) / 1000
    truth = patient_truth(patient, rois, planned, images=len(ct) if kind.exports_ct else 0, lesion_cc=lesion_cc)
    return MadePatient(patient, datasets, {**truth, "identifiers": _identifiers(datasets)})


def _ct(phantom: Phantom, study: Study) -> list[Dataset]:
    grid = axial_grid(
        lower_mm=phantom.lower_mm,
        shape_xyz=phantom.hu.shape,
        spacing_xyz_mm=phantom.spacing_mm.tolist(),
        position=study.patient_position,
    )
    return ct_datasets(store(phantom.hu, grid), study)


def _plan_and_doses(
    patient: DemoPatient,
    phase: Phase,
    study: Study,
    structure_set: Dataset | None,
    rois: dict[str, Roi],
    anatomy: Anatomy,
) -> tuple[PlannedDose, list[Dataset]]:
    """The plan's dose as a formula, and its objects: RTPLAN, one RTDOSE for the plan or for each beam, RTRECORDs."""
    x, y, z = (round(float(v), 2) for v in anatomy.lesion.centre_mm)
    plan = rtplan_dataset(
        Plan(
            label=phase.label,
            date=patient.date_after(phase.days_after_ct),
            fractions=phase.fractions,
            prescriptions=tuple(
                Prescription(gy, rois[key].number, rois[key].name) if key else Prescription(gy, None, "Lung lesion")
                for key, gy in phase.levels
            ),
            isocentre_mm=(x, y, z),
            beams=phase.beams,
        ),
        study,
        structure_set,
    )
    grid = _dose_grid(phase, rois, study.patient_position)
    by_beam = phase.summation == "BEAM"
    shares = [beam.dose_share for beam in phase.beams] if by_beam else [1.0]
    parts = [
        LinearDose.through(phase.centre_gy * share, anatomy.lesion.centre_mm, gradient)
        for share, gradient in zip(shares, phase.gradients_gy_per_mm, strict=True)
    ]
    doses = [
        rtdose_dataset(
            part.on(grid),
            grid,
            study,
            plan=plan,
            structure_set=structure_set,
            summation=phase.summation,
            beam_number=phase.beams[i].number if by_beam else None,
            absolute_offsets=phase.grid.layout == "absolute",
            instance_number=i + 1,
            dvhs=target_dvhs(rois.values(), part),
        )
        for i, part in enumerate(parts)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    records = [rtrecord_dataset(fraction, study, plan) for fraction in patient.fractions(phase)]
    return PlannedDose(phase, total, grid), [plan, *doses, *records]


def _dose_grid(phase: Phase, rois: dict[str, Roi], position: str) -> GridGeometry:
    """Around all structures, deliberately not aligned with the image."""
    points = np.vstack([points for roi in rois.values() for points in roi.contours])
    lower, upper = points.min(axis=0) - DOSE_MARGIN_MM, points.max(axis=0) + DOSE_MARGIN_MM
    grid = covering_grid(np.round(lower, 1), upper, phase.grid.spacing_xyz_mm, position)
    return grid.reversed_planes() if phase.grid.layout == "descending" else grid


def _identifiers(datasets: Sequence[Dataset]) -> list[str]:
    """Texts that must not turn up in anything made for research from these objects."""
    keywords = (
        *("PatientID", "PatientName", "PatientBirthDate", "AccessionNumber"),
        *("StudyDate", "RTPlanDate", "TreatmentDate"),
        *("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "ReferringPhysicianName", "InstitutionName"),
    )
    found = {str(ds[keyword].value) for ds in datasets for keyword in keywords if keyword in ds}
    uids = {str(ds.SOPInstanceUID) for ds in datasets if ds.Modality != "CT"}
    return sorted(found | uids)


def _write(made: MadePatient, dicom: Path, seed: int) -> Path:
    """Save a patient's objects in arbitrary order under arbitrary names; returns the folder or archive."""
    kind = made.patient.kind
    order = random.Random(f"{seed}/{made.patient.number}")
    names = [f"{stem:06X}" for stem in order.sample(range(16**6), len(made.datasets))]
    members = sorted(
        (f"{order.choice(kind.subfolders)}/{name}{order.choice(('', '.dcm'))}".lstrip("/"), ds)
        for name, ds in zip(names, made.datasets, strict=True)
    )
    target = dicom / made.patient.folder
    if not kind.zipped:
        for name, ds in members:
            save(ds, target / name)
        return target
    target = target.with_name(target.name + ".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for name, ds in members:
            buffer = BytesIO()
            save(ds, buffer)
            info = zipfile.ZipInfo(f"{made.patient.folder}/{name}", ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, buffer.getvalue(), compresslevel=1)
    return target
