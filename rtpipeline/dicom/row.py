"""The row that one parsed object becomes in the index, and what is wrong with the object."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID

from rtpipeline.contracts.index import SOP_KINDS
from rtpipeline.dicom.decoders import can_decode
from rtpipeline.dicom.digest import charset_of, content_sha256, header_sha256
from rtpipeline.dicom.encoding import ParsedObject, plain
from rtpipeline.dicom.facts import facts_json
from rtpipeline.dicom.pixels import PixelLayout, PixelSurvey, layout_of, survey
from rtpipeline.dicom.values import Values

CONTENT_KINDS = frozenset({"rtstruct", "rtplan", "rtdose", "reg", "rtrecord"})
"""Read whole, for the digest of their content."""

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about one object that becomes part of a finding."""

    code: str
    measured: str


class RowBuilder:
    """Builds the row of one object from its elements."""

    def __init__(self, parsed: ParsedObject) -> None:
        self.parsed = parsed
        self.found = parsed.data_set
        self.syntax = parsed.syntax
        self.notes = [note for note in (parsed.syntax.note, *self.found.notes) if note]
        self.problems: list[Problem] = []
        self.charset = charset_of(self.found.elements)
        self.values = Values(self.found.elements, self.charset, big_endian=parsed.syntax.big_endian, notes=self.notes)

    def build(self, with_content: bool) -> dict[str, Any]:
        """The columns of SCAN_FIELDS but where the object is; fills `problems`."""
        values = self.values
        sop_class = values.uid(0x00080016) or plain(self.parsed.meta, 0x00020002)
        kind = SOP_KINDS.get(sop_class, "other")
        layout = layout_of(values) if self.found.pixels else None
        look = self._survey(layout, digest=with_content or kind in CONTENT_KINDS)
        header = header_sha256(self.found.elements, big_endian=self.syntax.big_endian, charset=self.charset)
        row: dict[str, Any] = {
            "has_preamble": self.parsed.has_preamble,
            "has_file_meta": self.syntax.stated,
            "transfer_syntax_uid": self.syntax.uid,
            "sop_class_uid": sop_class,
            "sop_instance_uid": values.uid(0x00080018) or plain(self.parsed.meta, 0x00020003),
            "modality": values.text(0x00080060),
            "kind": kind,
            "header_sha256": header,
            "content_sha256": "",
            "pixel_bytes_ok": look.complete if look else None,
        }
        if with_content or kind in CONTENT_KINDS:
            row["content_sha256"] = content_sha256(header, look.sha256 if look else "")
        row.update(self._identity())
        row.update(self._descriptions())
        row.update(self._geometry())
        row["facts"] = facts_json(kind, sop_class, values, has_pixels=self.found.pixels is not None)
        if self.found.cut:
            row["pixel_bytes_ok"] = False
        row["size"] = self.parsed.file.total()
        self._find_problems(row, look)
        row["non_geometric_note"] = "; ".join(dict.fromkeys(self.notes))
        return row

    def _survey(self, layout: PixelLayout | None, *, digest: bool) -> PixelSurvey | None:
        pixels = self.found.pixels
        if pixels is None:
            return None
        look = survey(
            self.parsed.window, pixels, layout, self.syntax.uid, big_endian=self.syntax.big_endian, digest=digest
        )
        if look.note:
            self.notes.append(look.note)
        return look

    def _identity(self) -> dict[str, Any]:
        values = self.values
        patient, issuer = values.text(0x00100020), values.text(0x00100021)
        found: dict[str, Any] = {
            "patient_key": f"{patient}^^^{issuer}" if patient and issuer else patient,
            "patient_name": self.charset.decode(values.raw(0x00100010), is_name=True),
            "birth_date": values.text(0x00100030),
            "sex": values.text(0x00100040),
            "age": values.text(0x00101010),
            "study_uid": values.uid(0x0020000D),
            "series_uid": values.uid(0x0020000E),
            "frame_uid": values.uid(0x00200052) or self._referenced_frame(),
            "study_date": values.text(0x00080020),
        }
        for column in ("study_uid", "series_uid", "frame_uid"):
            if found[column] and not _UID.fullmatch(found[column]):
                self.notes.append(f"{column} is no valid UID")
        found["date"], found["time"] = self._moment()
        return found

    def _referenced_frame(self) -> str:
        """Of a structure set without a frame of reference of its own: the one its contours lie in."""
        referenced = [item.uid(0x00200052) for item in self.values.items(0x30060010)]
        referenced += [item.uid(0x30060024) for item in self.values.items(0x30060020)]
        return next((uid for uid in referenced if uid), "")

    def _moment(self) -> tuple[str, str]:
        """Date and time of what the object shows, from the first pair of elements with a valid date."""
        for date_tag, time_tag in _MOMENTS:
            date = valid_date(self.values.text(date_tag))
            if date:
                return date, valid_time(self.values.text(time_tag))
        return "", ""

    def _descriptions(self) -> dict[str, Any]:
        values = self.values
        return {
            "study_description": values.text(0x00081030),
            "series_description": values.text(0x0008103E),
            "series_number": values.integer(0x00200011),
            "instance_number": values.integer(0x00200013),
            "acquisition_number": values.integer(0x00200012),
            "acquisition_time": values.text(0x00080032),
            "temporal_position": values.integer(0x00200100),
            "image_type": "\\".join(part.strip() for part in values.text(0x00080008).upper().split("\\")),
            "image_comments": values.text(0x00204000),
            "manufacturer": values.text(0x00080070),
            "model": values.text(0x00081090),
            "contrast_agent": values.text(0x00180010),
            "burned_in": values.text(0x00280301).upper(),
            "approval_status": values.text(0x300E0002).upper(),
            "patient_position": values.text(0x00185100).upper(),
            "units": (values.text(0x00541001) or values.text(0x30040002)).upper(),
        }

    def _geometry(self) -> dict[str, Any]:
        values = self.values
        frames = values.integer(0x00280008)
        if frames is None and self.found.pixels is not None:
            frames = 1
        signed = values.unsigned(0x00280103)
        return {
            "rows": _fitting(values.unsigned(0x00280010), 31),
            "columns": _fitting(values.unsigned(0x00280011), 31),
            "frames": _fitting(frames, 31),
            "position": self._vector(0x00200032, 3),
            "orientation": self._vector(0x00200037, 6),
            "pixel_spacing": self._vector(0x00280030, 2),
            "slice_thickness": values.number(0x00180050),
            "gantry_tilt": values.number(0x00181120),
            "rescale_slope": values.number(0x00281053),
            "rescale_intercept": values.number(0x00281052),
            "bits_allocated": _fitting(values.unsigned(0x00280100), 15),
            "pixel_signed": None if signed is None else signed == 1,
        }

    def _vector(self, tag: int, length: int) -> list[float] | None:
        found = self.values.numbers(tag)
        if found is not None and len(found) != length:
            self.notes.append(f"{len(found)} values where {length} are needed in ({tag >> 16:04X},{tag & 0xFFFF:04X})")
            return None
        return found

    def _find_problems(self, row: dict[str, Any], look: PixelSurvey | None) -> None:
        problem = lambda code, measured: self.problems.append(Problem(code, measured))  # noqa: E731
        cut = self.found.cut or (look.measured if look else "")
        if cut:
            problem("FILE_TRUNCATED", cut)
        missing = [
            name
            for name, column in (
                ("SOP class", "sop_class_uid"),
                ("SOP instance", "sop_instance_uid"),
                ("series", "series_uid"),
            )
            if not row[column]
        ]
        if missing:
            problem("FILE_MISSING_UID", f"no {', '.join(missing)} UID")
        if not self.parsed.has_preamble:
            problem("FILE_NO_PREAMBLE", "no DICM at byte 128")
        if not self.syntax.stated:
            encapsulated = self.found.pixels is not None and self.found.pixels.length is None
            how = "not found: compressed pixel data" if encapsulated else UID(self.syntax.uid).name
            problem("FILE_NO_TRANSFER_SYNTAX", f"none; inferred: {how}")
        if self.found.pixels is not None and not can_decode(self.syntax.uid):
            name = _standard_name(self.syntax.uid, "that is none of the standard")
            problem("FILE_COMPRESSED", f"transfer syntax {name}")
        for text in sorted(self.charset.problems):
            problem("TEXT_CHARSET", text)
        if self.found.private_text:
            problem("PRIVATE_TAGS", "private text")
        secondary = row["sop_class_uid"].startswith(_SECONDARY_CAPTURE)
        if secondary or row["burned_in"] == "YES":
            problem("BURNED_IN", "secondary capture" if secondary else "BurnedInAnnotation YES")
        elif row["kind"] in ("other", "rtimage", "seg") and row["sop_class_uid"]:
            problem("FILE_UNSUPPORTED", sop_class_name(row["sop_class_uid"]))
        named = sop_class_name(row["sop_class_uid"])
        if row["kind"] in _KIND_MODALITIES and row["modality"] not in _KIND_MODALITIES[row["kind"]]:
            self.notes.append(f"Modality {row['modality'] or 'absent'} in an object of class {named}")


_KIND_MODALITIES = {
    "rtstruct": {"RTSTRUCT"},
    "rtplan": {"RTPLAN", "RTIONPLAN"},
    "rtdose": {"RTDOSE"},
    "reg": {"REG"},
    "rtrecord": {"RTRECORD"},
    "image": {"CT", "MR", "PT"},
}

_MOMENTS = (
    (0x300A0006, 0x300A0007),  # RTPlanDate
    (0x30060008, 0x30060009),  # StructureSetDate
    (0x30080250, 0x30080251),  # TreatmentDate
    (0x00080022, 0x00080032),  # AcquisitionDate
    (0x00080023, 0x00080033),  # ContentDate
    (0x00080021, 0x00080031),  # SeriesDate
    (0x00080020, 0x00080030),  # StudyDate
)


def _fitting(number: int | None, bits: int) -> int | None:
    """None where a hostile value does not fit its column; nothing real comes near."""
    return number if number is not None and abs(number) < 2**bits else None


def valid_date(text: str) -> str:
    """yyyymmdd of a DA value, the ACR-NEMA form yyyy.mm.dd included; '' where it is none."""
    digits = text.replace(".", "")
    if len(digits) != 8 or not digits.isascii() or not digits.isdigit():
        return ""
    plausible = "1850" <= digits[:4] <= "2200" and "01" <= digits[4:6] <= "12" and "01" <= digits[6:] <= "31"
    return digits if plausible else ""


def valid_time(text: str) -> str:
    """hhmmss of a TM value, missing minutes and seconds as 00; '' where it is none."""
    digits = text.replace(":", "").split(".")[0]
    if len(digits) not in (2, 4, 6) or not digits.isascii() or not digits.isdigit() or digits[:2] > "23":
        return ""
    return digits.ljust(6, "0")


def sop_class_name(sop_class_uid: str) -> str:
    """Name of a standard SOP class; a private one is not told by its UID."""
    return _standard_name(sop_class_uid, "private SOP class")


def _standard_name(uid: str, otherwise: str) -> str:
    """Name of a UID of the standard. Any other value of a file is not repeated: it may be any text."""
    name = str(UID(uid).name)
    return otherwise if name == uid else name
