"""Faults of objects: whose they are, how they are named, and whether they belong."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import (
    EncapsulatedPDFStorage,
    RTImageStorage,
    SecondaryCaptureImageStorage,
)

from rtpipeline.contracts.findings import Scope
from rtpipeline.demo.headers import new_object, reference_to
from rtpipeline.demo.small import SmallPatient, small_patient
from tests.synthetic.consequences import (
    dvh,
    is_missing,
    no_dose,
    nothing_computed,
    numbers_of_others,
    same_numbers,
    slice_filled,
)
from tests.synthetic.edits import rewrite, roi_contour
from tests.synthetic.pipeline import Chain
from tests.synthetic.registry import W, fault, patient


def _object(made: SmallPatient, sop_class: str, modality: str, *what: str) -> Dataset:
    ds = new_object(
        made.study, sop_class_uid=sop_class, sop_instance_uid=made.study.uids(*what), modality=modality,
        date="20240304", time="120000",
    )  # fmt: skip
    ds.SeriesInstanceUID = made.study.uids(*what, "series")
    return ds


def _with_pixels(ds: Dataset) -> Dataset:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = 8
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.PixelData = 7, 0, bytes(64)
    return ds


@fault("BURNED_IN", "capture", measured="secondary capture", then=same_numbers, course=None)
def a_screenshot(folder: Path) -> None:
    """The dose printout was sent to the PACS as a secondary capture, with the patient's name on it."""
    made = patient()
    made.extra.append(_with_pixels(_object(made, SecondaryCaptureImageStorage, "OT", "screenshot")))
    made.save(folder)


@fault("BURNED_IN", "slice", measured="BurnedInAnnotation YES", then=slice_filled, course=None,
       also=("IMG_MISSING_SLICE",))  # fmt: skip
def an_annotated_slice(folder: Path) -> None:
    """A slice was saved with its annotation burned into the pixels."""
    made = patient()
    made.ct[7].BurnedInAnnotation = "YES"
    made.save(folder)


def left_out(chain: Chain, clean: Chain) -> None:
    """The course is excluded and named as such."""
    assert chain.course.status == "excluded" and chain.course.excluded_by == ["PATIENT_MISMATCH"]
    nothing_computed(chain, clean)


@fault("PATIENT_MISMATCH", "two identities", measured="PatientID", then=left_out)
def structures_of_somebody_else(folder: Path) -> None:
    """Structure sets were mixed up when they were copied: this one names another patient."""
    made = patient()
    made.rtstruct.PatientID, made.rtstruct.PatientName = "DEMO-901", "Demo^Other"  # type: ignore[union-attr]
    made.save(folder)


def two_patients(chain: Chain, clean: Chain) -> None:
    """Two patients with a course each, with the numbers of each alone."""
    assert len({c.patient_id for c in chain.manifest.courses}) == len(chain.manifest.courses) == 2
    for course in chain.manifest.courses:
        assert dvh(chain, course_id=course.course_id)["PTV"]["dmean_gy"] == dvh(clean)["PTV"]["dmean_gy"]


@fault("PATIENT_MISMATCH", "shared id", measured="shares its id", severity=W, then=two_patients, course=None)
def one_id_for_two_patients(folder: Path) -> None:
    """Public sets and phantoms share ids such as 123456."""
    patient().save(folder / "a")
    other = small_patient(seed=2, patient_name="Demo^Other", study_fields={"birth_date": "19700101"})
    other.save(folder / "b")


@fault("PATIENT_MISMATCH", "no id", measured="1 groups", severity=W, scope=Scope.COHORT,
       then=same_numbers, course=None)  # fmt: skip
def no_patient_id(folder: Path) -> None:
    """An anonymiser emptied every id."""
    made = patient()
    for ds in made.datasets():
        ds.PatientID = ""
    made.save(folder)


@fault("PATIENT_MISMATCH", "names", measured="names differ", severity=W, then=same_numbers)
def a_name_that_changed(folder: Path) -> None:
    """The patient married between the CT and the plan: id and birth date agree, the name does not."""
    made = patient()
    made.rtplan.PatientName = "Demo^Married"  # type: ignore[union-attr]
    made.save(folder)


@fault("FILE_UNSUPPORTED", "pdf", measured="Encapsulated PDF", then=same_numbers, course=None)
def a_report_as_dicom(folder: Path) -> None:
    """The plan report was archived as an encapsulated PDF."""
    made = patient()
    made.extra.append(_object(made, EncapsulatedPDFStorage, "DOC", "report"))
    made.save(folder)


@fault("FILE_MISSING_UID", "dose", measured="no SOP instance UID", then=no_dose, course=None)
def a_dose_without_uid(folder: Path) -> None:
    """A home-made converter wrote a dose without an instance UID."""
    patient().save(folder)

    def without(ds: Dataset) -> None:
        del ds.SOPInstanceUID, ds.file_meta.MediaStorageSOPInstanceUID

    rewrite(folder, without, "RTDOSE*")


@fault("FILE_MISSING_UID", "filler", measured="UID is no UID", scope=Scope.COHORT, then=nothing_computed, course=None,
       also=("COURSE_NO_PLANNING_IMAGE",))  # fmt: skip
def a_filler_for_a_uid(folder: Path) -> None:
    """An anonymiser replaced the structure set's UID by a word."""
    patient().save(folder)
    rewrite(folder, lambda ds: setattr(ds, "SOPInstanceUID", "UNKNOWN"), "RTSTRUCT*")


@fault("OBJECT_NOT_USED", "image", measured="1 RT images", then=same_numbers, also=("FILE_UNSUPPORTED",))
def a_portal_image(folder: Path) -> None:
    """Portal images of the treatment were exported with the plan."""
    made = patient()
    ds = _with_pixels(_object(made, RTImageStorage, "RTIMAGE", "portal"))
    assert made.rtplan is not None
    ds.ReferencedRTPlanSequence = [reference_to(made.rtplan)]
    made.extra.append(ds)
    made.save(folder)


def undeclared_is_listed(chain: Chain, clean: Chain) -> None:
    """A row without a volume for contours that no structure owns."""
    rows = chain.rows("structures", "structures")
    (row,) = [r for r in rows if r["roi_number"] == 4]
    assert row["status"] == "undeclared" and is_missing(row["volume_cc"])
    numbers_of_others("SpinalCord")(chain, clean)


@fault(
    "OBJECT_NOT_USED", "contours", measured="16 contours of a number", scope=Scope.STRUCTURE, then=undeclared_is_listed
)
def contours_without_a_structure(folder: Path) -> None:
    """A structure was deleted and its contours stayed in the file."""
    made = patient()
    assert made.rtstruct is not None and roi_contour(made, "SpinalCord")
    del made.rtstruct.StructureSetROISequence[3]
    made.save(folder)
