"""Decoders of compressed pixel data: which are there, and the one that is not trusted."""

from __future__ import annotations

from functools import lru_cache

from pydicom.pixels import get_decoder
from pydicom.pixels.decoders import RLELosslessDecoder
from pydicom.uid import UID

# pylibjpeg-rle 2.2 panics in Rust on damaged frames, an exception that no `except Exception` catches and that prints a
# backtrace (found by fuzzing). pydicom brings a decoder of its own, about ten times slower and safe.
RLELosslessDecoder.remove_plugin("pylibjpeg")

MAX_FRAME_BYTES = 512 * 1024**2
"""Decoded, with room for the largest mammograms. A frame of 65535 x 65535 can be stated beside a hundred bytes of RLE,
and decoders make room for all of it first."""


@lru_cache(maxsize=64)
def can_decode(transfer_syntax_uid: str) -> bool:
    """Whether pixel data in this transfer syntax can be decoded with what is installed; native data always can."""
    uid = UID(transfer_syntax_uid)
    if not uid.is_transfer_syntax or not uid.is_encapsulated:
        return uid.is_transfer_syntax
    try:
        return bool(get_decoder(uid).is_available)
    except NotImplementedError:
        return False
