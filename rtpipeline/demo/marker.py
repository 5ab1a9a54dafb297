"""What tells the demo's objects from a hospital's: their General Equipment module (PS3.3 C.7.5.1)."""

from __future__ import annotations

DEMO_MANUFACTURER = "RTpipeline"
DEMO_MODEL = "RTpipeline demo phantom"


def carries_demo_marker(manufacturer: str | None, model: str | None) -> bool:
    """Whether Manufacturer and ManufacturerModelName are those that every object of the demo carries.

    The phantom's networks know synthetic torsos only, so they load for such data and for no other.
    """
    return (manufacturer or "").strip() == DEMO_MANUFACTURER and (model or "").strip() == DEMO_MODEL
