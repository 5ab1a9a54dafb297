"""Faults of files: copies, encodings, identities, and objects that do not belong."""

from __future__ import annotations

import zipfile
from copy import deepcopy
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000MC,
    EncapsulatedPDFStorage,
    ImplicitVRLittleEndian,
    RTImageStorage,
    SecondaryCaptureImageStorage,
)

from rtpipeline.contracts.findings import Scope
from rtpipeline.demo.headers import new_object, reference_to, save
from rtpipeline.demo.small import SmallPatient, small_patient
from tests.synthetic.consequences import (
    dvh,
    image,
    is_missing,
    no_dose,
    nothing_computed,
    numbers_of_others,
    same_numbers,
    structures,
)
from tests.synthetic.edits import part10, pixels, rewrite, roi_contour, without_meta, write
from tests.synthetic.pipeline import Chain
from tests.synthetic.registry import W, fault, patient

PRIVATE_TEXT = "Miller^Anna"
ODD_NAME = "Drüse /li.|é"


@fault("FILE_DUPLICATE", "slice", measured="1 object, 1 further copy", then=same_numbers, course=None)
def a_slice_twice(folder: Path) -> None:
    """A slice came from the PACS and from the planning system, in two transfer syntaxes."""
    made = patient()
    made.save(folder)
    made.ct[7].file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    save(made.ct[7], folder / "pacs" / "IM7")


@fault("FILE_DUPLICATE", "dose", measured="they differ only in SeriesDescription", then=same_numbers, course=None)
def a_dose_twice(folder: Path) -> None:
    """The archive wrote its own description into the copy of a dose."""
    made = patient()
    made.save(folder)
    assert made.rtdose is not None
    made.rtdose.SeriesDescription = "archived"
    save(made.rtdose, folder / "archive" / "RD.dcm")


def slice_filled(chain: Chain, clean: Chain) -> None:
    """One slice is interpolated; the numbers, which come from contours, are as before."""
    assert image(chain)["interpolated_planes"] == 1
    same_numbers(chain, clean)


@fault("FILE_UID_CONFLICT", "slice", measured="they differ in PixelData", then=slice_filled, course=None,
       also=("IMG_MISSING_SLICE",))  # fmt: skip
def a_slice_anonymised_twice(folder: Path) -> None:
    """An anonymiser burned a mask into one copy of a slice and kept its UID."""
    made = patient()
    made.save(folder)
    twin = deepcopy(made.ct[7])
    twin.PixelData = (pixels(twin) + 1).tobytes()
    save(twin, folder / "masked.dcm")


@fault("FILE_UID_CONFLICT", "dose", measured="they differ in PixelData", then=no_dose, course=None)
def two_doses_under_one_uid(folder: Path) -> None:
    """A phantom set holds doses of several gradients under one UID: whichever is read last would win."""
    made = patient()
    made.save(folder)
    twin = deepcopy(made.rtdose)
    assert twin is not None
    twin.PixelData = bytes(len(twin.PixelData) // 2) + twin.PixelData[len(twin.PixelData) // 2 :]
    save(twin, folder / "other.dcm")


@fault("FILE_NO_PREAMBLE", "whole", measured="no DICM at byte 128", then=same_numbers, course=None)
def no_preamble(folder: Path) -> None:
    """A gateway wrote the network stream to disk: meta header, but no preamble."""
    for number, ds in enumerate(patient().datasets()):
        write(folder / f"{number}", part10(ds)[132:])


@fault("FILE_NO_PREAMBLE", "bare", measured="no DICM at byte 128", then=same_numbers, course=None,
       also=("FILE_NO_TRANSFER_SYNTAX",))  # fmt: skip
def bare_dataset(folder: Path) -> None:
    """XiO and older CMS systems write the bare dataset in implicit VR little endian."""
    for number, ds in enumerate(patient().datasets()):
        write(folder / f"{number}.dcm", without_meta(ds))


@fault("FILE_NO_TRANSFER_SYNTAX", "deleted", measured="inferred: Explicit VR Little Endian", then=same_numbers,
       course=None)  # fmt: skip
def no_transfer_syntax(folder: Path) -> None:
    """Monaco writes a meta header without the transfer syntax."""
    patient().save(folder)
    rewrite(folder, lambda ds: ds.file_meta.__delitem__("TransferSyntaxUID"))


@fault("FILE_COMPRESSED", "no decoder", measured="JPEG 2000", then=slice_filled, course=None,
       also=("IMG_MISSING_SLICE",))  # fmt: skip
def a_codec_that_nobody_has(folder: Path) -> None:
    """A PACS stores slices in a compression for which no decoder is installed."""
    made = patient()
    made.ct[7].PixelData = encapsulate([made.ct[7].PixelData])
    made.ct[7]["PixelData"].is_undefined_length = True
    made.ct[7].file_meta.TransferSyntaxUID = JPEG2000MC
    made.save(folder)


@fault("FILE_TRUNCATED", "slice", measured="bytes", then=slice_filled, course=None, also=("IMG_MISSING_SLICE",))
def a_slice_cut(folder: Path) -> None:
    """The disk was full while slices were copied."""
    made = patient()
    made.save(folder)
    write(folder / "CT_007.dcm", part10(made.ct[7])[:-400])


@fault("FILE_TRUNCATED", "dose", measured="bytes", then=no_dose, course=None)
def a_dose_cut(folder: Path) -> None:
    """The transfer of the dose was interrupted."""
    made = patient()
    made.save(folder)
    (path,) = folder.glob("RTDOSE*")
    write(path, path.read_bytes()[:-1000])


@fault("FILE_TRUNCATED", "structure set", measured="", then=nothing_computed, course=None,
       also=("COURSE_NO_PLANNING_IMAGE",))  # fmt: skip
def a_structure_set_cut(folder: Path) -> None:
    """The structure set ends in the middle of a contour."""
    made = patient()
    made.save(folder)
    (path,) = folder.glob("RTSTRUCT*")
    write(path, path.read_bytes()[: path.stat().st_size // 2])


@fault("FILE_NOT_DICOM", "junk", measured="PDF", then=same_numbers, course=None)
def junk_files(folder: Path) -> None:
    """Somebody opened the export on a Mac and saved the plan report beside it."""
    patient().save(folder)
    write(folder / "report.pdf", b"%PDF-1.7 plan report")
    write(folder / "._CT_001.dcm", b"\0\5\x16\7" + bytes(80))
    write(folder / ".DS_Store", b"\0\0\0\1Bud1" + bytes(80))
    write(folder / "Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(80))


def _zip(made: SmallPatient, path: Path) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(path, "w")
    for number, ds in enumerate(made.datasets()):
        archive.writestr(f"export/{number}.dcm", part10(ds))
    return archive


def only_the_source_was_read(chain: Chain, clean: Chain) -> None:
    """Nothing was unpacked beside the work folder, and the safe members count."""
    assert not list(chain.root.parent.rglob("slipped*"))
    same_numbers(chain, clean)


@fault("ARCHIVE_UNSAFE", "path", measured="path with `..`", then=only_the_source_was_read, course=None)
def a_member_that_climbs_out(folder: Path) -> None:
    """An archive holds a member whose path leads out of it."""
    with _zip(patient(), folder / "export.zip") as archive:
        archive.writestr("../slipped.dcm", part10(patient().ct[0]))


@fault("ARCHIVE_UNSAFE", "names", measured="not UTF-8", severity=W, then=same_numbers, course=None)
def names_in_an_old_code_page(folder: Path) -> None:
    """A German Windows zipped folders with umlauts in its own code page."""
    path = folder / "export.zip"
    made = patient()
    (first, made.ct) = (made.ct[0], made.ct[1:])
    with _zip(made, path) as archive:
        archive.writestr("export/Pr#fung.dcm", part10(first))
    path.write_bytes(path.read_bytes().replace(b"Pr#fung", b"Pr\x81fung"))


def name_is_kept(chain: Chain, clean: Chain) -> None:
    """The structure's name as it was typed, and its numbers."""
    assert structures(chain).keys() == {"BODY", "GTV", "PTV", ODD_NAME}
    assert dvh(chain)[ODD_NAME]["dmean_gy"] == dvh(clean)["SpinalCord"]["dmean_gy"]
    numbers_of_others("SpinalCord")(chain, clean)


@fault("TEXT_CHARSET", "wrong", measured="does not decode", then=name_is_kept, course=None)
def latin_letters_declared_as_utf8(folder: Path) -> None:
    """A planning system writes Latin-1 and declares UTF-8; the name holds a slash and a pipe as well."""
    made = patient()
    plain = ODD_NAME.replace("ü", "#").replace("é", "~")
    made.rtstruct.StructureSetROISequence[3].ROIName = plain  # type: ignore[union-attr]
    made.save(folder)
    (path,) = folder.glob("RTSTRUCT*")
    latin = ODD_NAME.encode("latin-1")
    write(path, path.read_bytes().replace(plain.encode(), latin))


def private_text_stays_private(chain: Chain, clean: Chain) -> None:
    """No file outside `private/` holds the text."""
    public = [p for p in chain.root.rglob("*") if p.is_file() and "private" not in p.parts]
    assert public and not [p.name for p in public if PRIVATE_TEXT.encode() in p.read_bytes()]
    same_numbers(chain, clean)


@fault("PRIVATE_TAGS", "name", measured="objects with text", then=private_text_stays_private, course=None)
def a_name_in_a_private_block(folder: Path) -> None:
    """A vendor repeats the patient's name in a block that anonymisers do not know."""
    made = patient()
    for ds in made.datasets():
        ds.private_block(0x0029, "ACME PLANNING 1.1", create=True).add_new(0x10, "LO", PRIVATE_TEXT)
    made.save(folder)


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
