"""What `doctor` and `validate` look at: the machine, the installation, and a run that is about to start."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtpipeline import __version__
from rtpipeline.config import Config
from rtpipeline.errors import RTpipelineError
from rtpipeline.execution import environment
from rtpipeline.stages import STAGES
from rtpipeline.store.keys import installed_version

if TYPE_CHECKING:
    from rtpipeline.dicom.sources import FileEntry, Source

GIB = 1024**3
SPACE_PER_INPUT = 3.0
"""Free space wanted, times the size of the export: canonical images, label maps and tables of an uncompressed CT."""

LEAST_SPACE_GIB = 1.0
READ_BYTES = 132
"""Read of one file of each source: preamble and magic of a DICOM file."""

LEAST_SHM_MIB = 64
CODECS = {
    "JPEG baseline": "1.2.840.10008.1.2.4.50",
    "JPEG lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS lossless": "1.2.840.10008.1.2.4.80",
    "JPEG 2000 lossless": "1.2.840.10008.1.2.4.90",
    "JPEG 2000": "1.2.840.10008.1.2.4.91",
    "HTJ2K lossless": "1.2.840.10008.1.2.4.201",
    "RLE lossless": "1.2.840.10008.1.2.5",
}
"""Transfer syntaxes of compressed images (PS3.5 A.4)."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    """what to do when it is not ok"""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        return f"{'ok  ' if self.ok else 'NO  '} {self.name}: {self.found}" + (
            f"; {self.remedy}" if self.remedy and not self.ok else ""
        )


def machine_checks(store: Path | None = None) -> list[Check]:
    """The machine and the installation."""
    memory, cpus = environment.memory_limit_mib(), environment.available_cpus()
    checks = [
        Check("rtpipeline", True, f"{__version__}, Python {platform.python_version()}, {platform.system()}"),
        Check(
            "CPUs of the container", True, f"{cpus}; {environment.workers(Config(), cpus)} stages at once by default"
        ),
        Check("memory of the container", memory >= 4096, f"{memory} MiB", "large images need 4 GiB or more"),
        _shm(),
        *_libraries(),
        *_codecs(),
        _gpu(),
    ]
    return checks + ([_space("disk", store, 0.0)] if store is not None else [])


def _shm() -> Check:
    path = Path("/dev/shm")
    free_mib = shutil.disk_usage(path).free // environment.MIB if path.is_dir() else 0
    return Check(
        "/dev/shm", free_mib > LEAST_SHM_MIB, f"{free_mib} MiB free", "segmentation then predicts sequentially"
    )


def _libraries() -> list[Check]:
    needed = {lib for stage in STAGES.values() for lib in stage.libraries}
    optional = {"TotalSegmentator", "nnunetv2", "torch", "pyradiomics-bhklab"}
    found = []
    for name in sorted(needed, key=str.lower):
        version = installed_version(name)
        absent = version == "absent"
        text = "not installed; its stages end without a result" if absent and name in optional else version
        found.append(Check(name, not absent or name in optional, text, "install rtpipeline again"))
    return found


def _codecs() -> list[Check]:
    from pydicom.pixels import get_decoder

    return [
        Check(
            f"decoder {name}",
            get_decoder(uid).is_available,
            "available" if get_decoder(uid).is_available else "missing",
            "pip install 'rtpipeline[codecs]', or such images are refused with a finding",
        )
        for name, uid in CODECS.items()
    ]


def _gpu() -> Check:
    if find_spec("torch") is not None:
        torch: Any = import_module("torch")
        if torch.cuda.is_available():
            return Check("GPU", True, f"{torch.cuda.device_count()} for torch {torch.__version__}")
    devices = len(environment.gpus())
    return Check("GPU", True, f"{devices} devices, none usable by torch; segmentation would run on the CPU")


def run_checks(inputs: Sequence[Source], config: Config, store: Path | None) -> list[Check]:
    """Whether a run with these inputs can work. Nothing is computed and nothing is written."""
    from rtpipeline.dicom.sources import Walk, walk

    met = Walk()
    sizes: list[tuple[int, int]] = []
    first: dict[int, FileEntry] = {}
    absent = {source: why for source in inputs if (why := _absence(source))}
    present = [source for source in inputs if source not in absent]
    for entry in walk(present, met=met):
        sizes.append((entry.source, entry.size))
        first.setdefault(entry.source, entry)
    checks = [Check("input", False, why, "give another --input") for why in absent.values()]
    for number, path in enumerate(present):
        count = sum(source == number for source, _ in sizes)
        checks.append(Check("input", count > 0, f"{path}: {count} files", "give the folder or archive of the export"))
        if number in first:
            checks.append(_readable(path, first[number]))
    unreadable = len(met.unreadable)
    checks.append(Check("unreadable files and folders", unreadable == 0, str(unreadable), "change their permissions"))
    if store is not None:
        checks.append(_space("space for the store", store, SPACE_PER_INPUT * sum(size for _, size in sizes) / GIB))
    return [*checks, *weights_checks(config)]


def _absence(source: Source) -> str:
    """Why a source is not there; '' where it is."""
    if isinstance(source, Path):
        return "" if source.exists() else f"{source} does not exist"
    try:
        source.check()
    except RTpipelineError as error:
        return str(error)
    return ""


def _readable(source: Source, entry: FileEntry) -> Check:
    from rtpipeline.dicom.objects import SourceFile
    from rtpipeline.dicom.sources import locate

    try:
        with SourceFile(locate(source, entry.path, entry.key)) as file:
            size = len(file.window.at(0, min(READ_BYTES, file.size)) or b"")
    except (OSError, RTpipelineError) as error:
        return Check("first file", False, f"{source}: {type(error).__name__}", "change its permissions")
    return Check("first file", True, f"{source}: {size} bytes read")


def weights_checks(config: Config) -> list[Check]:
    """Whether the networks that the configuration asks for are there."""
    checks = []
    if config.segmentation.enabled is True:
        checks.append(_totalsegmentator_weights(config))
    root = config.custom_models.root
    if config.custom_models.enabled and root is not None:
        checks.append(Check("custom models", root.is_dir(), str(root), "correct custom_models.root"))
    return checks


def _totalsegmentator_weights(config: Config) -> Check:
    """Whether every network that a planning CT needs is there and whole."""
    from rtpipeline.segmentation import catalogue, weights

    name = "weights of TotalSegmentator"
    if not catalogue.is_installed():
        return Check(name, False, "TotalSegmentator is not installed", "pip install 'rtpipeline[segmentation]'")
    networks = weights.task_networks(config.segmentation, "CT")
    found = weights.weights_of(networks, demo=False)
    if found.is_usable:
        return Check(name, True, f"{len(networks)} networks in {found.root}")
    lacking = dict.fromkeys(file.partition("/")[0] for file in (*found.missing, *found.damaged))
    measured = f"{found.root} without {', '.join(lacking)}"
    return Check(name, False, measured, "rtpipeline weights fetch, or segmentation.enabled: auto")


def _space(name: str, folder: Path, wanted_gib: float) -> Check:
    existing: Path = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free_gib = shutil.disk_usage(existing).free / GIB
    wanted_gib = max(wanted_gib, LEAST_SPACE_GIB)
    return Check(
        name, free_gib >= wanted_gib, f"{free_gib:.1f} GiB free, {wanted_gib:.1f} GiB wanted", "free some space"
    )
