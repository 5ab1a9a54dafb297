"""Where a network computes: the GPU that the configuration asks for, or the CPU."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """A choice. gpu: as `CUDA_VISIBLE_DEVICES` names it; None for the CPU. is_fallback: the CPU for want of a GPU."""

    gpu: str | None = None
    is_fallback: bool = False

    @property
    def name(self) -> str:
        """As the tables say it: cpu or cuda."""
        return "cpu" if self.gpu is None else "cuda"


def choose_device(setting: str, gpus: Sequence[str]) -> Device | None:
    """The device for `segmentation.device` (auto, cpu, gpu or gpu:N, N counted among `gpus`).

    None when a GPU is asked for by name and is not there: never the CPU instead, which takes a hundred times as long.
    """
    if setting == "cpu":
        return Device()
    if setting == "auto":
        return Device(gpus[0]) if gpus else Device(is_fallback=True)
    index = int(re.sub(r"\D", "", setting) or 0)
    return Device(gpus[index]) if index < len(gpus) else None
