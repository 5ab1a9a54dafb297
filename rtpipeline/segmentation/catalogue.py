"""What each task of TotalSegmentator is: classes, modality, resolution, networks. From the library's own tables.

The tables are pure data (no torch), and are imported when first asked for, so that configuration and keys stay light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

Mode = Literal["full", "fast", "fastest"]
"""1.5 mm (or the task's own resolution), 3 mm, 6 mm."""

TOTAL = {"CT": "total", "MR": "total_mr"}
"""The task that segments the whole body, by modality."""

ROUGH_TRAINER = "nnUNetTrainer_4000epochs_NoMirroring"
ROUGH_TRAINER_MR = "nnUNetTrainer_2000epochs_NoMirroring"
"""Trainers of the coarse networks that find the region to crop to (totalsegmentator/python_api.py)."""


@dataclass(frozen=True)
class Network:
    """One trained network as nnU-Net finds it: `folder` below the weights, `configuration` `Trainer__Plans__config`.

    folds: those that are loaded; None for all that are there.
    """

    dataset: int
    folder: str
    configuration: str
    folds: tuple[int, ...] | None

    @property
    def path(self) -> str:
        """Relative to the folder of the weights."""
        return f"{self.folder}/{self.configuration}"


@dataclass(frozen=True)
class Task:
    """One task in one mode.

    classes: structure by number in its label map. resolution_mm: edge of the coarsest voxel axis it works at; None
    where only the network's plans say it. networks: all that a run loads, those for cropping included.
    """

    name: str
    mode: Mode
    modality: Literal["CT", "MR"]
    needs_license: bool
    classes: dict[int, str]
    resolution_mm: float | None
    networks: tuple[Network, ...]


def is_installed() -> bool:
    """Whether TotalSegmentator is installed."""
    from importlib.util import find_spec

    return find_spec("totalsegmentator") is not None


@cache
def task_names() -> tuple[str, ...]:
    """Every task of the installed version, in its own order."""
    from totalsegmentator.map_tasks_config import TASK_CONFIGS
    from totalsegmentator.registry import TASKS

    return tuple(name for name in TASKS if name in TASK_CONFIGS and not name.endswith("test"))


@cache
def class_names(task: str) -> dict[int, str]:
    """Structure by number in the task's label map. Raises KeyError for an unknown task."""
    from totalsegmentator.registry import class_map

    return dict(class_map[task])


def modes(task: str) -> tuple[Mode, ...]:
    """The modes that a task has."""
    sub = _settings(task).get("sub_modes", {"default": None})
    names: tuple[tuple[Mode, str], ...] = (("full", "default"), ("fast", "fast"), ("fastest", "fastest"))
    return tuple(mode for mode, key in names if key in sub)


def best_mode(task: str, *, fast: bool, fastest: bool) -> Mode:
    """The mode of a task under the configuration's `fast` and `fastest`: what it lacks falls back to the next finer."""
    wanted: tuple[Mode, ...] = ("fastest", "fast") if fastest else ("fast",) if fast else ()
    return next((mode for mode in wanted if mode in modes(task)), "full")


@cache
def task(name: str, mode: Mode = "full", *, subset: bool = False) -> Task:
    """The task's entry.

    Parameters
    ----------
    subset: structures are selected, which makes the library find their region with a coarser network first.

    Raises
    ------
    KeyError: unknown task.
    """
    from totalsegmentator.registry import requires_license, task_modality

    settings = _settings(name, mode)
    edges = settings.get("resample")
    return Task(
        name=name,
        mode=mode,
        modality=task_modality(name),
        needs_license=requires_license(name),
        classes=class_names(name),
        resolution_mm=None if edges is None else float(max(edges) if isinstance(edges, list) else edges),
        networks=tuple(dict.fromkeys([*_own_networks(settings), *_helpers(name, settings, subset=subset)])),
    )


def _settings(name: str, mode: Mode = "full") -> dict[str, Any]:
    """The library's settings of a task: its defaults, and those of the mode where it has modes."""
    from totalsegmentator.map_tasks_config import DEFAULT_CONFIG, TASK_CONFIGS

    own = TASK_CONFIGS[name]
    sub = own.get("sub_modes", {}).get("default" if mode == "full" else mode, {})
    return {**DEFAULT_CONFIG, **own, **sub}


def _own_networks(settings: dict[str, Any]) -> list[Network]:
    ids = settings["task_id"]
    plans = settings["plans"] or "nnUNetPlans"
    folds = tuple(settings["folds"]) if settings["folds"] is not None else None
    return [
        _network(dataset, f"{settings['trainer']}__{plans}__{settings['model']}", folds)
        for dataset in (ids if isinstance(ids, list) else [ids])
    ]


def _helpers(name: str, settings: dict[str, Any], *, subset: bool) -> Sequence[Network]:
    """Networks that a run loads besides its own, as totalsegmentator/python_api.py chooses them."""
    if name == "vertebrae_pp_refined":
        return _own_networks(_settings("vertebrae_body"))
    if settings["crop_model"]:
        return task(settings["crop_model"]).networks
    crop = settings["crop"] or ()
    if not (crop or subset):
        return ()
    if "body_trunc" in crop or "body_extremities" in crop:
        return _rough(300, "nnUNetTrainer")
    if name.endswith("_mr"):
        return _rough(852, ROUGH_TRAINER_MR)
    return _rough(297 if settings["robust_crop"] else 298, ROUGH_TRAINER)


def _rough(dataset: int, trainer: str) -> list[Network]:
    return [_network(dataset, f"{trainer}__nnUNetPlans__3d_fullres", (0,))]


def _network(dataset: int, configuration: str, folds: tuple[int, ...] | None) -> Network:
    from totalsegmentator.map_tasks_config import TASK_ID_WEIGHTS_CONFIGS

    return Network(dataset, TASK_ID_WEIGHTS_CONFIGS[dataset]["foldername"], configuration, folds)
