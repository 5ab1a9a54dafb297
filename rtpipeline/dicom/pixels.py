"""Pixel data of an object without decoding it: whether all of it is there, and its digest."""

from __future__ import annotations

import hashlib
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.pixels import get_decoder
from pydicom.uid import UID

from rtpipeline.dicom.decoders import MAX_FRAME_BYTES, can_decode
from rtpipeline.dicom.digest import swapped
from rtpipeline.dicom.elements import PixelElement
from rtpipeline.dicom.values import Values
from rtpipeline.dicom.window import MAX_HEADER_BYTES, Window

_DECODE_ERRORS = (
    *(RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, EOFError, OSError),
    struct.error,
)
"""What pydicom and the decoders behind it raise on frames that do not decode; NotImplementedError is a RuntimeError."""

_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How the pixels of an object are stored (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    photometric: str
    signed: bool
    bits_stored: int
    planar: int

    def expected_bytes(self) -> int:
        """Length of native pixel data, without the padding to an even length."""
        return self._bytes(self.frames)

    def frame_bytes(self) -> int:
        """Length of one native frame."""
        return self._bytes(1)

    def _bytes(self, frames: int) -> int:
        values = self.rows * self.columns * self.samples * frames
        if self.photometric == "YBR_FULL_422":
            values = values // 3 * 2  # two luminance values share their chrominance
        return (values * self.bits_allocated + 7) // 8


def layout_of(values: Values) -> PixelLayout | None:
    """The layout that an object states; None where rows, columns or bits are missing."""
    rows, columns, bits = values.unsigned(0x00280010), values.unsigned(0x00280011), values.unsigned(0x00280100)
    if not rows or not columns or not bits:
        return None
    frames = values.integer(0x00280008)
    return PixelLayout(
        rows=rows,
        columns=columns,
        frames=1 if frames is None else max(frames, 0),
        samples=values.unsigned(0x00280002) or 1,
        bits_allocated=bits,
        photometric=values.text(0x00280004),
        signed=values.unsigned(0x00280103) == 1,
        bits_stored=values.unsigned(0x00280101) or bits,
        planar=values.unsigned(0x00280006) or 0,
    )


@dataclass(slots=True)
class PixelSurvey:
    """What a look at the pixel data gives."""

    complete: bool | None
    """None where rows, columns or bits are not stated"""
    measured: str = ""
    """what is wrong, in bytes; '' when nothing is"""
    note: str = ""
    sha256: str = ""
    """of the decoded stored values, little endian; only when asked for"""


def survey(
    window: Window,
    pixels: PixelElement,
    layout: PixelLayout | None,
    transfer_syntax_uid: str,
    *,
    big_endian: bool,
    digest: bool,
) -> PixelSurvey:
    """Checks the length of the pixel data; reads through it only for a digest, or where nothing else tells its end."""
    if pixels.length is None:
        return _survey_encapsulated(window, pixels, layout, transfer_syntax_uid, digest=digest)
    expected = layout.expected_bytes() if layout else pixels.length
    if digest:
        swap = layout.bits_allocated // 8 if big_endian and layout else 1
        available, sha256 = _digest_native(window.stream(pixels.offset), min(pixels.length, expected), swap)
    else:
        available, sha256 = window.total() - pixels.offset, ""
    if available < pixels.length:
        return PixelSurvey(False, f"{max(0, available)} of {pixels.length} bytes of PixelData in the file", "", sha256)
    if layout is None:
        return PixelSurvey(None, sha256=sha256)
    if pixels.length < expected:
        return PixelSurvey(False, f"PixelData of {pixels.length} bytes, {expected} needed", "", sha256)
    surplus = pixels.length - expected
    if layout.frames and surplus >= max(2, expected // layout.frames):
        return PixelSurvey(False, f"PixelData of {pixels.length} bytes, {expected} stated", "", sha256)
    note = f"PixelData {surplus} bytes longer than stated" if surplus > 1 else ""
    return PixelSurvey(True, "", note, sha256)


def _digest_native(parts: Iterator[bytes], wanted: int, swap: int) -> tuple[int, str]:
    """Bytes there are, and the digest of the first `wanted` of them; what pads or follows the pixels does not count."""
    digest, available, rest = hashlib.sha256(), 0, b""
    for part in parts:
        use = part[: max(0, wanted - available)]
        available += len(part)
        if swap > 1:
            use = rest + use
            whole = len(use) - len(use) % swap
            use, rest = swapped(use[:whole], swap), use[whole:]
        digest.update(use)
    digest.update(rest)
    return available, digest.hexdigest()


def _survey_encapsulated(
    window: Window, pixels: PixelElement, layout: PixelLayout | None, transfer_syntax_uid: str, *, digest: bool
) -> PixelSurvey:
    """Walks over the fragments (PS3.5 A.4) to their delimiter."""
    whole = b""
    at: Callable[[int, int], bytes | None] = window.at
    if digest or window.at(pixels.offset, 8) is None:
        # of a stream the fragments can only be read; they are compressed, so one object fits into memory
        whole = b"".join(_limited(window.stream(pixels.offset)))

        def at(offset: int, count: int) -> bytes:
            return whole[offset - pixels.offset : offset - pixels.offset + count]

    end, fragments = _fragments_end(at, pixels.offset)
    sha256 = _digest_encapsulated(whole[: end - pixels.offset], layout, transfer_syntax_uid) if digest and end else ""
    if not end:
        return PixelSurvey(False, f"compressed PixelData ends in fragment {fragments}", "", sha256)
    return PixelSurvey(True, sha256=sha256)


def _limited(parts: Iterator[bytes]) -> Iterator[bytes]:
    read = 0
    for part in parts:
        yield part
        read += len(part)
        if read > MAX_HEADER_BYTES:
            return


def _fragments_end(at: Callable[[int, int], bytes | None], offset: int) -> tuple[int, int]:
    """Offset behind the delimiter (0 where it is missing), and the number of fragments before."""
    fragments = 0
    while True:
        head = at(offset, 8) or b""
        if head[:4] == _SEQUENCE_END:
            return offset + 8, fragments
        if len(head) < 8 or head[:4] != _ITEM:
            return 0, fragments
        offset += 8 + int.from_bytes(head[4:], "little")
        fragments += 1


def _digest_encapsulated(value: bytes, layout: PixelLayout | None, transfer_syntax_uid: str) -> str:
    """Of the decoded frames, so that it equals that of a native copy; of the fragments where they do not decode."""
    if layout is not None and layout.frame_bytes() <= MAX_FRAME_BYTES and can_decode(transfer_syntax_uid):
        options: dict[str, Any] = {
            "rows": layout.rows,
            "columns": layout.columns,
            "number_of_frames": layout.frames,
            "samples_per_pixel": layout.samples,
            "photometric_interpretation": layout.photometric,
            "bits_allocated": layout.bits_allocated,
            "bits_stored": layout.bits_stored,
            "pixel_representation": int(layout.signed),
            "pixel_keyword": "PixelData",
            "planar_configuration": layout.planar,
        }
        digest = hashlib.sha256()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about padding, and about what is reported as a finding
                for array, _ in get_decoder(UID(transfer_syntax_uid)).iter_array(value, raw=True, **options):
                    digest.update(array.tobytes())
            return digest.hexdigest()
        except _DECODE_ERRORS:
            pass
    return hashlib.sha256(transfer_syntax_uid.encode() + value).hexdigest()
