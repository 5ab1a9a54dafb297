"""A patient that is made in a fraction of a second, for tests of a single fault or a single rule.

    patient = small_patient()
    patient.rtdose.DoseUnits = "RELATIVE"
    patient.save(folder)

The clean patient is free of faults: body inside the field of view, all structures inside image and dose grid, a dose
that fits the prescription. Whatever is to be wrong is changed by the caller, in the datasets or by the arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from pydicom.dataset import Dataset

from rtpipeline.demo.grid import GridGeometry, Volume, Xyz, axial_grid
from rtpipeline.demo.headers import Study, make_study, save
from rtpipeline.demo.linear_dose import LinearDose
from rtpipeline.demo.rois import Roi, draw, inside_polygon, planes_z_mm
from rtpipeline.demo.solids import Box, Cylinder, Solid, sphere
from rtpipeline.demo.write_ct import ct_datasets
from rtpipeline.demo.write_dvh import target_dvhs
from rtpipeline.demo.write_rtdose import rtdose_dataset
from rtpipeline.demo.write_rtplan import TWO_FIELDS, Beam, Plan, Prescription, rtplan_dataset
from rtpipeline.demo.write_rtstruct import rtstruct_dataset

CENTRE_MM: Xyz = (5.0, -12.0, 40.0)
"""Of image, body and target: off the origin, so that a sign error shows."""


@dataclass
class SmallPatient:
    """Datasets that may be changed before `save`; None for what is not to be written.

    extra: more datasets to save (a second plan, a beam's dose). The other fields tell what was drawn: `rois` with
    their contours and solids, the linear `dose` of the whole plan, the grids.
    """

    study: Study
    ct: list[Dataset]
    rtstruct: Dataset | None
    rtplan: Dataset | None
    rtdose: Dataset | None
    image: Volume
    rois: list[Roi]
    dose: LinearDose
    dose_grid: GridGeometry
    extra: list[Dataset] = field(default_factory=list)

    def datasets(self) -> list[Dataset]:
        """All that is saved: CT slices, RTSTRUCT, RTPLAN, RTDOSE, extra."""
        return [*self.ct, *(ds for ds in (self.rtstruct, self.rtplan, self.rtdose) if ds is not None), *self.extra]

    def save(self, folder: Path) -> Path:
        """Write every dataset to `folder` as MODALITY_NUMBER.dcm and return the folder."""
        for number, ds in enumerate(self.datasets()):
            save(ds, folder / f"{ds.get('Modality', 'OT')}_{number:03d}.dcm")
        return folder

    def roi(self, name: str) -> Roi:
        """The ROI with this name as it was drawn."""
        return next(roi for roi in self.rois if roi.name == name)

    def voxel_index(self, point_mm: Sequence[float]) -> tuple[int, int, int]:
        """(plane, row, column) of the CT voxel whose centre is nearest to a patient point, as stored."""
        distance = np.linalg.norm(self.image.geometry.points_mm() - np.array(point_mm), axis=-1)
        plane, row, column = np.unravel_index(int(np.argmin(distance)), distance.shape)
        return int(plane), int(row), int(column)


def small_patient(
    *,
    seed: int = 1,
    patient_id: str = "DEMO-900",
    patient_name: str = "Demo^Small",
    position: str = "HFS",
    shape_xyz: tuple[int, int, int] = (40, 40, 20),
    spacing_xyz_mm: Xyz = (3.0, 3.0, 3.0),
    centre_mm: Xyz = CENTRE_MM,
    names: Mapping[str, str] | None = None,
    solids: Mapping[str, tuple[str, Solid]] | None = None,
    dose_grid: GridGeometry | None = None,
    dose_spacing_xyz_mm: Xyz = (4.0, 4.0, 5.0),
    dose_margin_mm: float = 8.0,
    absolute_offsets: bool = False,
    prescription_gy: float = 50.0,
    fractions: int = 25,
    gradient_gy_per_mm: Xyz = (0.10, -0.06, 0.08),
    beams: tuple[Beam, ...] = TWO_FIELDS,
    plan_label: str = "PLAN1",
    plan_date: str = "20240311",
    study_fields: Mapping[str, str] | None = None,
) -> SmallPatient:
    """A patient with a CT, a structure set, one plan and its PLAN dose.

    position: PatientPosition; it changes the layout of image and dose grid, never the anatomy. solids: name -> (type,
    solid) instead of `default_solids(...)`; ROI numbers follow their order from 1, and the plan prescribes to the first
    of type PTV. names: default name -> name to write. dose_grid: instead of an axial grid of `dose_spacing_xyz_mm` that
    reaches `dose_margin_mm` beyond the image on each side. The dose is linear, `prescription_gy` at `centre_mm`.
    study_fields: fields of `Study`, for instance {"study_date": "20230601"}.
    """
    study = make_study(seed, patient_id, patient_name, **{"patient_position": position, **(study_fields or {})})
    half_mm = (np.array(shape_xyz) - 1) * np.array(spacing_xyz_mm) / 2
    lower_mm = np.array(centre_mm) - half_mm
    grid = axial_grid(lower_mm=lower_mm, shape_xyz=shape_xyz, spacing_xyz_mm=spacing_xyz_mm, position=position)
    drawn = solids if solids is not None else default_solids(centre_mm, half_mm)
    image = Volume(_hounsfield(grid, [solid for _, solid in drawn.values()]), grid)
    ct = ct_datasets(image, study)
    rename = names or {}
    rois = [
        draw(number, rename.get(name, name), kind, solid, planes_z_mm(ct))
        for number, (name, (kind, solid)) in enumerate(drawn.items(), start=1)
    ]
    rtstruct = rtstruct_dataset(rois, study, ct)
    target = next((roi.number for roi in rois if roi.interpreted_type == "PTV"), None)
    plan = Plan(
        label=plan_label,
        date=plan_date,
        fractions=fractions,
        prescriptions=(Prescription(prescription_gy, target, "PTV"),),
        isocentre_mm=centre_mm,
        beams=beams,
    )
    rtplan = rtplan_dataset(plan, study, rtstruct)
    if dose_grid is None:
        dose_grid = covering_grid(
            lower_mm - dose_margin_mm, lower_mm + 2 * half_mm + dose_margin_mm, dose_spacing_xyz_mm, position
        )
    dose = LinearDose.through(prescription_gy, centre_mm, gradient_gy_per_mm)
    rtdose = rtdose_dataset(
        dose.on(dose_grid),
        dose_grid,
        study,
        plan=rtplan,
        structure_set=rtstruct,
        absolute_offsets=absolute_offsets,
        dvhs=target_dvhs(rois, dose),
    )
    return SmallPatient(study, ct, rtstruct, rtplan, rtdose, image, rois, dose, dose_grid)


def default_solids(centre_mm: Xyz, half_mm: Sequence[float]) -> dict[str, tuple[str, Solid]]:
    """BODY (elliptic cylinder through the whole image), GTV (sphere), PTV (box) and SpinalCord (cylinder).

    half_mm: half the distance between the image's outermost voxel centres along x, y, z.
    """
    x, y, z = centre_mm
    return {
        "BODY": ("EXTERNAL", Cylinder(centre_mm, (0.84 * half_mm[0], 0.76 * half_mm[1]), half_mm[2] + 0.1)),
        "GTV": ("GTV", sphere(centre_mm, 12.0)),
        "PTV": ("PTV", Box(centre_mm, (18.0, 18.0, 17.0))),
        "SpinalCord": ("ORGAN", Cylinder((x - 4.0, y + 32.0, z), (7.0, 7.0), 24.0)),
    }


def covering_grid(lower_mm: ArrayLike, upper_mm: ArrayLike, spacing_xyz_mm: Xyz, position: str = "HFS") -> GridGeometry:
    """The smallest axial grid from `lower_mm` whose voxel centres reach `upper_mm`."""
    spans = np.array(upper_mm, float) - np.array(lower_mm, float)
    counts = [int(n) + 1 for n in np.ceil(spans / np.array(spacing_xyz_mm, float) - 1e-9)]
    lower = np.round(np.array(lower_mm, float), 3)
    return axial_grid(lower_mm=lower, shape_xyz=counts, spacing_xyz_mm=spacing_xyz_mm, position=position)


def _hounsfield(grid: GridGeometry, solids: Sequence[Solid]) -> np.ndarray:
    """(plane, row, column) int16: air, a value per solid, later ones over earlier ones, and a fixed fine texture."""
    points = grid.points_mm()
    hu = np.full(grid.shape, -1000.0)
    for value, solid in zip(HU_OF_SOLIDS, solids, strict=False):
        low, high = solid.z_range_mm
        for z in np.unique(points[..., 2]):
            if low <= z <= high:
                on_plane = points[..., 2] == z
                inside = np.zeros(int(on_plane.sum()), bool)
                for polygon in solid.section(float(z)):
                    inside ^= inside_polygon(points[on_plane][:, :2], polygon)
                hu[on_plane] = np.where(inside, value, hu[on_plane])
    # a texture that depends on the place in the patient alone, so that it is the same in all positions
    texture = 8 * np.sin(0.7 * points[..., 0]) + 6 * np.sin(0.9 * points[..., 1] + 0.5 * points[..., 2])
    return np.rint(np.where(hu > -900, hu + texture, hu)).astype(np.int16)


HU_OF_SOLIDS = (20.0, 60.0, 40.0, 30.0, 80.0, -50.0, 120.0, 10.0)
"""Of the solids in their order; later ones are not painted."""
