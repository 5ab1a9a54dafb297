"""Every fault of real exports that this version can find, by code."""

from __future__ import annotations

from tests.synthetic import fault_files, fault_images, fault_structures  # noqa: F401
from tests.synthetic.registry import FAULTS, ODDITIES, Fault

__all__ = ["FAULTS", "ODDITIES", "Fault"]
