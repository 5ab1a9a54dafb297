"""Where the networks of a run lie, and whether they are whole. The phantom's networks are for the demo alone.

Imports nothing heavy: the keys of every run ask here which weights are in use.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rtpipeline.execution import environment
from rtpipeline.segmentation import catalogue
from rtpipeline.segmentation.catalogue import Mode, Network

if TYPE_CHECKING:
    from rtpipeline.config import Config, SegmentationConfig

PHANTOM_ROOT = Path(__file__).resolve().parents[1] / "demo" / "weights"
PHANTOM = PHANTOM_ROOT / "totalsegmentator"
PHANTOM_PREFIX = "phantom/"
"""Before the file names of phantom networks wherever weights are listed."""

SUMS = "SHA256SUMS"
CHECKPOINT = "checkpoint_final.pth"
ABSENT = "absent"


@dataclass(frozen=True)
class Weights:
    """The networks of one task as found.

    root: folder that holds them all. files: name below it to sha256. missing: names of files that are not there.
    damaged: what is wrong with files that are. phantom: these are the demo's networks.
    """

    root: Path
    phantom: bool
    files: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether every file is there and whole."""
        return not self.missing and not self.damaged

    @property
    def named(self) -> dict[str, str]:
        """`files`, with the mark of the phantom's networks."""
        return {f"{PHANTOM_PREFIX if self.phantom else ''}{name}": sha for name, sha in self.files.items()}


def weights_of(networks: Iterable[Network], *, demo: bool) -> Weights:
    """The weights for a course: the phantom's for one of the demo where it has all of them, else the real ones.

    A course that is not of the demo never gets the phantom's, not even from a folder of real weights into which they
    were copied: there they count as damaged.
    """
    networks = tuple(networks)
    if demo and all((PHANTOM / network.path).is_dir() for network in networks):
        return _checked(PHANTOM, networks, _sums(PHANTOM_ROOT, "totalsegmentator/"), phantom=True)
    root = environment.totalsegmentator_weights()
    return _checked(root, networks, _sums(root), phantom=False)


def _checked(root: Path, networks: Iterable[Network], sums: dict[str, str], *, phantom: bool) -> Weights:
    files: dict[str, str] = {}
    missing: list[str] = []
    damaged: list[str] = []
    for name in (name for network in networks for name in network_files(root, network)):
        path = root / name
        if not path.is_file():
            missing.append(name)
            continue
        files[name] = file_hash(path)
        fault = _fault(path, files[name], sums.get(name))
        if fault is None and not phantom and is_phantom_file(files[name]):
            fault = "is a network of the demo's phantom"
        if fault is not None:
            damaged.append(f"{name} {fault}")
    return Weights(root, phantom, files, tuple(missing), tuple(damaged))


def network_files(root: Path, network: Network) -> list[str]:
    """The files that nnU-Net reads of a network, relative to `root`; with unnamed folds, those that are there."""
    folder = root / network.path
    folds = [f"fold_{n}" for n in network.folds] if network.folds is not None else _folds_present(folder)
    return [f"{network.path}/{name}" for name in ("dataset.json", "plans.json", *(f"{f}/{CHECKPOINT}" for f in folds))]


def _folds_present(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.glob("fold_[0-9]*") if p.is_dir()) or ["fold_0"]


def _fault(path: Path, sha256: str, declared: str | None) -> str | None:
    """What is wrong with a file that is there: None when nothing is."""
    if declared is not None and declared != sha256:
        return f"has sha256 {sha256[:12]}, {SUMS} says {declared[:12]}"
    if path.suffix == ".pth":
        # torch writes a zip archive, whose directory is at its end: a cut copy has none
        return None if zipfile.is_zipfile(path) else "is cut short or no checkpoint"
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return "is no valid JSON"
    return None


def _sums(folder: Path, prefix: str = "") -> dict[str, str]:
    """Name to sha256 of a folder's SHA256SUMS, names below `prefix` only; empty without the file."""
    path = folder / SUMS
    if not path.is_file():
        return {}
    pairs = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    listed = {name.lstrip("*"): sha for sha, name in pairs}
    return {name.removeprefix(prefix): sha for name, sha in listed.items() if name.startswith(prefix)}


def record_sums(root: Path, names: Iterable[str]) -> int:
    """Write the sha256 of these files into the folder's SHA256SUMS, beside what it lists; returns how many it lists."""
    sums = _sums(root) | {name: file_hash(root / name) for name in names if (root / name).is_file()}
    text = "".join(f"{sha}  {name}\n" for name, sha in sorted(sums.items()))
    (root / SUMS).write_text(text, encoding="utf-8")
    return len(sums)


@cache
def _phantom_hashes() -> frozenset[str]:
    return frozenset(sha for name, sha in _sums(PHANTOM_ROOT).items() if name.endswith(".pth"))


def is_phantom_file(sha256: str) -> bool:
    """Whether this is the hash of a checkpoint that knows nothing but the demo's phantom."""
    return sha256 in _phantom_hashes()


def file_hash(path: Path) -> str:
    """sha256 of a file; read once by this process for each size and time of change."""
    stat = path.stat()
    return _file_hash(path, stat.st_size, stat.st_mtime_ns)


@cache
def _file_hash(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def configured_tasks(config: SegmentationConfig, modality: str) -> list[tuple[str, Mode]]:
    """The tasks of an image of this modality, `total` first, each with its mode."""
    names = [catalogue.TOTAL[modality], *config.extra_models]
    return [
        (name, catalogue.best_mode(name, fast=config.fast, fastest=config.fastest))
        for name in dict.fromkeys(names)
        if catalogue.task(name).modality == modality
    ]


def subset_of(config: SegmentationConfig, task: str) -> list[str]:
    """The structures of `roi_subset` that a task has; empty where it takes no subset."""
    if not config.roi_subset or not task.startswith("total"):
        return []
    return [name for name in catalogue.class_names(task).values() if name in config.roi_subset]


def task_networks(config: SegmentationConfig, modality: str) -> tuple[Network, ...]:
    """Every network that an image of this modality needs."""
    found: list[Network] = []
    for name, mode in configured_tasks(config, modality):
        found += catalogue.task(name, mode, subset=bool(subset_of(config, name))).networks
    return tuple(dict.fromkeys(found))


def configured_networks(config: SegmentationConfig) -> tuple[Network, ...]:
    """Every network that a course may need under this configuration."""
    return tuple(dict.fromkeys(n for modality in catalogue.TOTAL for n in task_networks(config, modality)))


def weights_in_use(config: Config) -> dict[str, str]:
    """File name to sha256 of all weights that the stage could load, real and phantom; `absent` for missing ones."""
    if not catalogue.is_installed():
        return {}
    root = environment.totalsegmentator_weights()
    found: dict[str, str] = {}
    for network in configured_networks(config.segmentation):
        found |= _hashes(root, network, "")
        if (PHANTOM / network.path).is_dir():
            found |= _hashes(PHANTOM, network, PHANTOM_PREFIX)
    return dict(sorted(found.items()))


def _hashes(root: Path, network: Network, prefix: str) -> dict[str, str]:
    return {
        f"{prefix}{name}": file_hash(root / name) if (root / name).is_file() else ABSENT
        for name in network_files(root, network)
    }
