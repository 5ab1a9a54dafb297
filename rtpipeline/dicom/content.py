"""What two objects of one SOP instance UID are compared by."""

from __future__ import annotations

from dataclasses import dataclass

from rtpipeline.dicom.dictionary import keyword
from rtpipeline.dicom.digest import charset_of, element_digests, essential_sha256
from rtpipeline.dicom.elements import PIXEL_DATA
from rtpipeline.dicom.encoding import parse_object
from rtpipeline.dicom.pixels import layout_of, survey
from rtpipeline.dicom.values import Values
from rtpipeline.dicom.window import Window


@dataclass(frozen=True, slots=True)
class Content:
    """Digests of one object."""

    essential: str
    """geometry, contours, dose, plan: see `digest.essential_sha256`"""
    pixels: str
    """decoded stored values; '' without pixels"""
    elements: dict[int, bytes]
    """of each top-level element"""

    def same(self, other: Content) -> bool:
        """Whether one copy can stand in for the other."""
        return self.essential == other.essential and self.pixels == other.pixels

    def differing(self, other: Content) -> list[str]:
        """Keywords of the top-level elements that differ, by tag."""
        tags = {
            tag
            for tag in self.elements.keys() | other.elements.keys()
            if self.elements.get(tag) != other.elements.get(tag)
        }
        if self.pixels != other.pixels:
            tags.add(PIXEL_DATA)
        return [keyword(tag) for tag in sorted(tags)]


def read_content(window: Window) -> Content:
    """Digests of one object, from its first byte.

    Raises
    ------
    NoObjectError, DamagedError: see `parse_object`.
    ArchiveReadError, OSError: from the source behind the window.
    """
    parsed = parse_object(window)
    data_set, syntax = parsed.data_set, parsed.syntax
    values = Values(data_set.elements, charset_of(data_set.elements), big_endian=syntax.big_endian, notes=[])
    pixels = ""
    if data_set.pixels is not None:
        look = survey(
            parsed.window,
            data_set.pixels,
            layout_of(values),
            syntax.uid,
            big_endian=syntax.big_endian,
            digest=True,
        )
        pixels = look.sha256
    return Content(
        essential_sha256(data_set.elements, big_endian=syntax.big_endian),
        pixels,
        element_digests(data_set.elements, big_endian=syntax.big_endian),
    )
