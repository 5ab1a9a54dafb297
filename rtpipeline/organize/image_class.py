"""What kind of image a series is, from its headers: `ct`, `ct_4d_phase`, `ct_4d_average`, `ct_mip`, `cbct`, `mr`, `pt`,
`localizer`.

A description alone never makes a 4D phase: `50%` counts when the same frame of reference holds another phase.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rtpipeline.organize.objects import ScanObject

MODALITIES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
    "1.2.840.10008.5.1.4.1.1.130": "PT",
}
"""By SOP class (PS3.4 B.5): Modality is written wrongly more often than the class."""

SCOUT = re.compile(
    r"\b(localizer|localiser|scout|topogram|surview|scanogram|survey|3[ -]?plane|dose report|patient protocol|"
    r"screen ?save)\b"
)
CONE_BEAM = re.compile(r"\b(cbct|cone[ -]?beam|mvct|kv ?ct|xvi|on[ -]?board)\b")
CONE_BEAM_MODELS = re.compile(
    r"\b(patient verification|halcyon|acuity|obi|on-board imager|rds|xvi|tomotherapy|hi-art|radixact|ethos)\b"
)
"""Varian's consoles, Elekta XVI and the tomotherapy family write these as ManufacturerModelName."""
PERCENT = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)\s*%")
PHASE_WORD = re.compile(r"\b(?:phase|ph|resp|gated|t)\s*[=:_-]?\s*(\d{1,3}(?:\.\d+)?)\b")
FOUR_D = re.compile(r"\b(4d|4dct|4d-ct|resp\w*|gated|gating|phases?)\b")
AVERAGE = re.compile(r"\b(ave|avg|average|averaged|aip|ave-?ip|mean|untagged)\b")
PROJECTION = re.compile(r"\b(mip|mips|maxip|minip|max ip|min ip)\b")
DESCRIPTION_CLASSES = (
    ("dwi", re.compile(r"\b(dwi|adc|diff\w*|trace|b\d{3,4})\b")),
    ("dce", re.compile(r"\b(dce|dyn\w*|perf\w*|twist)\b")),
    ("flair", re.compile(r"flair")),
    ("t1", re.compile(r"\bt1|mprage|vibe|\bbravo\b")),
    ("t2", re.compile(r"\bt2|\bspace\b|haste")),
    ("pd", re.compile(r"\bpd\b")),
    ("dixon", re.compile(r"dixon|\bwater\b|\bin[ -]?phase\b")),
    ("planning", re.compile(r"\bplan\w*|\brt\b|radiother\w*")),
)


def modality_of(sop_class_uid: str, modality: str) -> str:
    """CT, MR or PT."""
    return MODALITIES.get(sop_class_uid) or {"MR": "MR", "PT": "PT"}.get(modality.strip().upper(), "CT")


def is_localizer_type(image_type: str) -> bool:
    """Whether ImageType (values joined with backslash) names a scout; axial slices of a scout protocol are none."""
    values = image_type.upper().split("\\")
    return "LOCALIZER" in values and not any(v in ("AXIAL", "HELICAL", "HELIX") for v in values)


def words_of(text: str) -> str:
    """Lower case with underscores as spaces, so that word boundaries hold."""
    return re.sub(r"[_/|]+", " ", text.casefold())


def phase_of(part: ScanObject) -> str:
    """The phase of a CT as written (`30.0`); '' when it names none."""
    assert part.image is not None
    text = words_of(f"{part.image.description} | {part.image.comments}")
    found = PERCENT.search(text) or (PHASE_WORD.search(text) if FOUR_D.search(text) else None)
    return found.group(1) if found else ""


def classify(parts: Sequence[ScanObject]) -> None:
    """Set `image_class` of image parts that have none yet, given all parts of one patient."""
    phases: dict[tuple[str, str], set[str]] = {}
    for part in parts:
        if part.image is not None and part.image.modality == "CT" and not part.image.image_class:
            phase = phase_of(part) or _phase_of_split(part)
            if phase:
                phases.setdefault(_context(part), set()).add(phase)
    for part in parts:
        if part.image is not None and not part.image.image_class:
            part.image.image_class = _class_of(part, len(phases.get(_context(part), ())) > 1)


def _context(part: ScanObject) -> tuple[str, str]:
    return (part.study_uid, part.frame_uid)


def _phase_of_split(part: ScanObject) -> str:
    """A part that the temporal position tells from the others of its series is a phase."""
    assert part.image is not None
    return part.order if part.image.split_by.startswith("temporal_position") else ""


def _class_of(part: ScanObject, has_phases: bool) -> str:
    assert part.image is not None
    image = part.image
    text = words_of(f"{image.description} | {image.comments}")
    types = words_of(image.image_type.replace("\\", " | "))
    if is_localizer_type(image.image_type) or SCOUT.search(words_of(image.description)):
        return "localizer"
    if image.modality != "CT":
        return image.modality.lower()
    if CONE_BEAM.search(text) or CONE_BEAM.search(types) or CONE_BEAM_MODELS.search(words_of(part.model)):
        return "cbct"
    if PROJECTION.search(text) or PROJECTION.search(types):
        return "ct_mip"
    four_d = has_phases or bool(FOUR_D.search(text))
    if "average" in types.split() or (four_d and AVERAGE.search(text)):
        return "ct_4d_average"
    if (phase_of(part) and four_d) or (_phase_of_split(part) and has_phases):
        return "ct_4d_phase"
    return "ct"


def description_class(part: ScanObject) -> str:
    """A coarse class of the series description, never its text; '' when no rule fits."""
    assert part.image is not None
    text = words_of(part.image.description)
    return next((name for name, pattern in DESCRIPTION_CLASSES if pattern.search(text)), "")
