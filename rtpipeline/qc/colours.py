"""One colour for a structure's name, in every picture and plot, of every course."""

from __future__ import annotations

import colorsys
import hashlib

TARGET_HUES = (-0.12, 0.13)
"""Targets are pink to amber; everything else has the hues between."""

GUARD = 0.03
"""Part of the colour circle that is left free between the two."""

SHADES = ((0.95, 0.60, 0.38), (0.68, 0.74, 0.50))
"""Saturation, and lightness on black pictures and on white paper."""


def colours(name: str, *, target: bool) -> tuple[str, str]:
    """Hexadecimal colour of a structure on pictures and in plots; case, spaces and marks of the name play no part."""
    plain = "".join(c for c in name.casefold() if c.isalnum())
    number = int.from_bytes(hashlib.sha256(plain.encode()).digest()[:6], "big")
    place, (saturation, picture, plot) = (number >> 8) / 2**40, SHADES[number % len(SHADES)]
    low, high = TARGET_HUES if target else (TARGET_HUES[1] + GUARD, 1.0 + TARGET_HUES[0] - GUARD)
    hue = (low + place * (high - low)) % 1.0
    return _hex(hue, picture, saturation), _hex(hue, plot, saturation)


def _hex(hue: float, lightness: float, saturation: float) -> str:
    parts = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)
