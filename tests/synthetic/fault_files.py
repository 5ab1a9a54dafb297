"""Faults of files: copies, encodings, cuts, archives, text."""

from __future__ import annotations

import zipfile
from copy import deepcopy
from pathlib import Path

from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000MC,
    ImplicitVRLittleEndian,
)

from rtpipeline.demo.headers import save
from rtpipeline.demo.small import SmallPatient
from tests.synthetic.consequences import (
    dvh,
    no_dose,
    nothing_computed,
    numbers_of_others,
    same_numbers,
    slice_filled,
    structures,
)
from tests.synthetic.edits import part10, pixels, rewrite, without_meta, write
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


def remedy_names_the_extra(chain: Chain, clean: Chain) -> None:
    """The other slices are used, and the finding says what to install."""
    assert all("rtpipeline[codecs]" in found.remedy for found in chain.found("FILE_COMPRESSED"))
    slice_filled(chain, clean)


@fault("FILE_COMPRESSED", "no decoder", measured="JPEG 2000", then=remedy_names_the_extra, course=None,
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


@fault("FILE_TRUNCATED", "structure set", measured="ends inside", then=nothing_computed, course=None,
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
