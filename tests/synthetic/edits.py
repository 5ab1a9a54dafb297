"""Changes to the small patient's datasets that several faults are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import RTIonPlanStorage, SpatialRegistrationStorage, generate_uid

from rtpipeline.demo.grid import GridGeometry
from rtpipeline.demo.headers import new_object, reference_to, save
from rtpipeline.demo.linear_dose import LinearDose
from rtpipeline.demo.rois import Roi, draw, planes_z_mm
from rtpipeline.demo.small import CENTRE_MM, SmallPatient
from rtpipeline.demo.solids import Solid
from rtpipeline.demo.write_rtdose import rtdose_dataset
from rtpipeline.demo.write_rtplan import TWO_FIELDS, Beam, Plan, Prescription, rtplan_dataset
from rtpipeline.demo.write_rtstruct import rtstruct_dataset, set_contour_data
from tests.synthetic.registry import patient

Points = NDArray[np.float64]


def with_rois(patient: SmallPatient, rois: Sequence[Roi]) -> SmallPatient:
    """The patient with these structures drawn instead; every UID stays."""
    patient.rois = list(rois)
    patient.rtstruct = rtstruct_dataset(patient.rois, patient.study, patient.ct)
    return patient


def redraw(patient: SmallPatient, name: str, contours: Iterable[Points]) -> SmallPatient:
    """The patient with other contours of one structure."""
    new = replace(patient.roi(name), contours=tuple(contours))
    return with_rois(patient, [new if roi.name == name else roi for roi in patient.rois])


def add_roi(patient: SmallPatient, name: str, solid: Solid, *, kind: str = "ORGAN") -> SmallPatient:
    """The patient with one more structure."""
    number = max(roi.number for roi in patient.rois) + 1
    return with_rois(patient, [*patient.rois, draw(number, name, kind, solid, planes_z_mm(patient.ct))])


def shifted(contours: Iterable[Points], x_mm: float, y_mm: float, z_mm: float) -> list[Points]:
    """The contours, moved."""
    return [points + np.array([x_mm, y_mm, z_mm]) for points in contours]


def roi_contour(patient: SmallPatient, name: str) -> Dataset:
    """The item of ROIContourSequence of a structure."""
    assert patient.rtstruct is not None
    number = patient.roi(name).number
    return next(i for i in patient.rtstruct.ROIContourSequence if i.ReferencedROINumber == number)


def structure_item(patient: SmallPatient, name: str) -> Dataset:
    """The item of StructureSetROISequence of a structure."""
    assert patient.rtstruct is not None
    number = patient.roi(name).number
    return next(i for i in patient.rtstruct.StructureSetROISequence if i.ROINumber == number)


def drop_slices(patient: SmallPatient, planes: Iterable[int]) -> SmallPatient:
    """The patient without some CT slices that contours and references still name."""
    gone = set(planes)
    patient.ct = [ds for k, ds in enumerate(patient.ct) if k not in gone]
    return patient


def scan_again(patient: SmallPatient, planes: Iterable[int]) -> SmallPatient:
    """The patient with these CT slices only, and with structures drawn on them."""
    patient.ct = [patient.ct[k] for k in planes]
    heights = planes_z_mm(patient.ct)
    rois = [draw(r.number, r.name, r.interpreted_type, r.solid, heights) for r in patient.rois if r.solid is not None]
    return with_rois(patient, rois)


def pixels(ds: Dataset) -> NDArray[np.int16]:
    """(row, column) stored values of a CT slice, free to be changed."""
    return np.frombuffer(ds.PixelData, "<i2").reshape(ds.Rows, ds.Columns).copy()


def turned(patient: SmallPatient, rotation: NDArray[np.float64]) -> SmallPatient:
    """The patient with CT, contours and dose turned by a (3, 3) rotation about the patient's origin."""
    assert patient.rtstruct is not None and patient.rtdose is not None

    def texts(values: Points) -> list[str]:
        return [f"{v:.11f}"[:16] for v in values.ravel()]

    for ds in [*patient.ct, patient.rtdose]:
        cosines = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
        ds.ImageOrientationPatient = texts(cosines @ rotation.T)
        ds.ImagePositionPatient = texts(np.array(ds.ImagePositionPatient, float) @ rotation.T)
    for item in patient.rtstruct.ROIContourSequence:
        for contour in item.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3) @ rotation.T
            set_contour_data(contour, points)
    return patient


def about_x(degrees: float) -> NDArray[np.float64]:
    """(3, 3) rotation about the left-right axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def new_dose(
    patient: SmallPatient,
    dose: LinearDose | None = None,
    *,
    summation: str = "PLAN",
    beam: int | None = None,
    grid: GridGeometry | None = None,
    plan: Dataset | None = None,
    bits: int = 32,
    scaling_gy: str = "0.000001",
) -> Dataset:
    """A dose object; the patient's whole dose for its plan on its grid unless told otherwise."""
    grid = grid or patient.dose_grid
    return rtdose_dataset(
        (dose or patient.dose).on(grid), grid, patient.study, plan=plan or patient.rtplan,
        structure_set=patient.rtstruct, summation=summation, beam_number=beam, bits=bits, grid_scaling_gy=scaling_gy,
    )  # fmt: skip


def beam_doses(patient: SmallPatient) -> list[Dataset]:
    """One BEAM dose for each beam of the plan."""
    return [
        new_dose(patient, patient.dose.scaled(beam.dose_share), summation="BEAM", beam=beam.number)
        for beam in TWO_FIELDS
    ]


def second_plan(
    patient: SmallPatient,
    *,
    label: str = "PLAN2",
    date: str = "20240415",
    rx_gy: float = 16.0,
    fractions: int = 8,
    target: str = "PTV",
    beams: tuple[Beam, ...] = TWO_FIELDS,
) -> list[Dataset]:
    """Another plan on the same structure set, and its dose."""
    prescription = Prescription(rx_gy, patient.roi(target).number, target)
    made = Plan(label, date, fractions, (prescription,), CENTRE_MM, beams)
    plan = rtplan_dataset(made, patient.study, patient.rtstruct)
    return [plan, new_dose(patient, patient.dose.scaled(rx_gy / float(patient.dose.at(CENTRE_MM))), plan=plan)]


def as_ion(made: SmallPatient) -> SmallPatient:
    """The patient with the plan as an RT Ion Plan of the same beams, which have a sequence of their own."""
    plan = made.rtplan
    assert plan is not None
    plan.SOPClassUID = plan.file_meta.MediaStorageSOPClassUID = RTIonPlanStorage
    for beam in plan.BeamSequence:
        beam.RadiationType, beam.ScanMode = "PROTON", "MODULATED"
        beam.IonControlPointSequence = beam.ControlPointSequence
        del beam.ControlPointSequence
    plan.IonBeamSequence = plan.BeamSequence
    del plan.BeamSequence
    return made


def as_brachy(made: SmallPatient) -> SmallPatient:
    """The patient with the plan as one of HDR brachytherapy: two application setups in place of the beams."""
    plan = made.rtplan
    assert plan is not None
    plan.BrachyTreatmentType, plan.BrachyTreatmentTechnique = "HDR", "INTERSTITIAL"
    plan.ApplicationSetupSequence, group = [], plan.FractionGroupSequence[0]
    references = []
    for number in (1, 2):
        setup, reference = Dataset(), Dataset()
        setup.ApplicationSetupNumber, setup.ApplicationSetupType = number, "OTHER"
        reference.ReferencedBrachyApplicationSetupNumber = number
        plan.ApplicationSetupSequence.append(setup)
        references.append(reference)
    del plan.BeamSequence, group.ReferencedBeamSequence
    group.NumberOfBeams, group.NumberOfBrachyApplicationSetups = 0, 2
    group.ReferencedBrachyApplicationSetupSequence = references
    return made


def setup_doses(made: SmallPatient, shares: Sequence[float] = (0.6, 0.4)) -> list[Dataset]:
    """One BRACHY dose for each application setup."""
    found = []
    for number, share in enumerate(shares, start=1):
        ds = new_dose(made, made.dose.scaled(share), summation="BRACHY", beam=number)
        (group,) = ds.ReferencedRTPlanSequence[0].ReferencedFractionGroupSequence
        del group.ReferencedBeamSequence
        setup = Dataset()
        setup.ReferencedBrachyApplicationSetupNumber = number
        group.ReferencedBrachyApplicationSetupSequence = [setup]
        found.append(ds)
    return found


def tie(plan: Dataset, other: Dataset, relationship: str) -> None:
    """Make a plan name another one (ReferencedRTPlanSequence)."""
    item = reference_to(other)
    item.RTPlanRelationship = relationship
    plan.ReferencedRTPlanSequence = [item]


def put_points(item: Dataset, points_xyz_mm: Points) -> None:
    """Other points in an item of ContourSequence."""
    item.NumberOfContourPoints = len(points_xyz_mm)
    set_contour_data(item, points_xyz_mm)


def part10(ds: Dataset) -> bytes:
    """The file that `save` writes."""
    buffer = BytesIO()
    save(ds, buffer)
    return buffer.getvalue()


def write(path: Path, content: bytes) -> Path:
    """A file with these bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def rewrite(folder: Path, change: Callable[[Dataset], object], pattern: str = "*.dcm") -> None:
    """Change files as no correct writer would: nothing is checked."""
    for path in sorted(folder.glob(pattern)):
        ds = pydicom.dcmread(path)
        change(ds)
        ds.save_as(path, enforce_file_format=False)


def without_meta(ds: Dataset) -> bytes:
    """The bare dataset in implicit VR little endian, without preamble and meta header."""
    bare = deepcopy(ds)
    bare.file_meta = FileMetaDataset()
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, bare, implicit_vr=True, little_endian=True, enforce_file_format=False)
    return buffer.getvalue()


def identity_registration(patient: SmallPatient, other_frame: str, *, matrix_type: str = "RIGID") -> Dataset:
    """A registration which says that another frame of reference is the study's own."""
    return registration(patient, other_frame, np.eye(4), matrix_type=matrix_type)


def registration(
    patient: SmallPatient, other_frame: str, matrix: Points, *, name: str = "", matrix_type: str = "RIGID"
) -> Dataset:
    """A registration whose (4, 4) matrix takes another frame of reference to the study's own.

    name: tells registrations of the same frame apart.
    """
    study = patient.study
    ds = new_object(
        study, sop_class_uid=SpatialRegistrationStorage,
        sop_instance_uid=study.uids("registration", other_frame + name),
        modality="REG", date=study.study_date, time="100000",
    )  # fmt: skip
    ds.SeriesInstanceUID, ds.SeriesNumber = study.uids("registration series"), 9
    ds.FrameOfReferenceUID = study.frame_of_reference_uid
    ds.RegistrationSequence = [
        _registration_item(study.frame_of_reference_uid, np.eye(4), matrix_type),
        _registration_item(other_frame, matrix, matrix_type),
    ]
    return ds


def _registration_item(frame_uid: str, values: Points, matrix_type: str) -> Dataset:
    matrix = Dataset()
    matrix.FrameOfReferenceTransformationMatrix = [f"{v:.12f}"[:16] for v in values.ravel()]
    matrix.FrameOfReferenceTransformationMatrixType = matrix_type
    steps, item = Dataset(), Dataset()
    steps.MatrixSequence = [matrix]
    item.FrameOfReferenceUID = frame_uid
    item.MatrixRegistrationSequence = [steps]
    return item


REGISTERED = np.array(
    [[0.0, -1.0, 0.0, 40.0], [1.0, 0.0, 0.0, -25.0], [0.0, 0.0, 1.0, 310.0], [0.0, 0.0, 0.0, 1.0]]
) @ np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.8, -0.6, 0.0], [0.0, 0.6, 0.8, 0.0], [0.0, 0.0, 0.0, 1.0]])
"""A turn and a shift that no two scans of a patient are apart: nothing fits by chance."""


def carried_over(ds: Dataset, matrix: Points, frame_uid: str) -> Dataset:
    """A dose object in another frame of reference, at the place that the (4, 4) matrix takes it to."""
    cosines = np.array(ds.ImageOrientationPatient, float).reshape(2, 3) @ matrix[:3, :3].T
    position = matrix[:3, :3] @ np.array(ds.ImagePositionPatient, float) + matrix[:3, 3]
    ds.ImageOrientationPatient = [f"{v:.12f}"[:16] for v in cosines.ravel()]
    ds.ImagePositionPatient = [f"{v:.11f}"[:16] for v in position]
    ds.FrameOfReferenceUID = frame_uid
    return ds


def planes_of(ds: Dataset) -> list[Dataset]:
    """A dose as a system writes it that puts every plane into a file of its own."""
    values = np.frombuffer(ds.PixelData, "<u4").reshape(ds.NumberOfFrames, ds.Rows, ds.Columns)
    cosines = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
    normal, first = np.cross(*cosines), np.array(ds.ImagePositionPatient, float)
    planes = []
    for number, (offset, plane) in enumerate(zip(ds.GridFrameOffsetVector, values, strict=True)):
        one = deepcopy(ds)
        one.SOPInstanceUID = generate_uid(entropy_srcs=[str(ds.SOPInstanceUID), str(number)])
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.ImagePositionPatient = [f"{v:.11f}"[:16] for v in first + float(offset) * normal]
        one.PixelData = plane.tobytes()
        for keyword in ("NumberOfFrames", "GridFrameOffsetVector", "FrameIncrementPointer", "DVHSequence"):
            if keyword in one:
                delattr(one, keyword)
        planes.append(one)
    return planes


def save_with_dose(folder: Path, **elements: object) -> None:
    """Write the clean patient with other elements of the dose; None deletes one."""
    made = patient()
    assert made.rtdose is not None
    for keyword, value in elements.items():
        if value is None:
            delattr(made.rtdose, keyword)
        else:
            setattr(made.rtdose, keyword, value)
    made.save(folder)
