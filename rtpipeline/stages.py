"""THE STAGE TABLE: every stage declared once, as data. Imports no stage code.

Two consumers read it: the local runner and the generator of cluster workflows. Nothing about a stage is written by hand
anywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scope = Literal["cohort", "course"]
ImageClass = Literal["cpu", "gpu"]
InputDigest = Literal["listing", "image", "course", "run"]


@dataclass(frozen=True)
class Resources:
    """What one attempt of a stage may use."""

    cpu: float
    """CPUs requested"""
    threads: int
    """threads of the computation: fixed here, not by `workers`, so that numbers do not depend on it"""
    memory_mib: tuple[int, ...]
    """ladder: an attempt after running out of memory gets the next rung"""
    timeout_s: float
    gpu: int = 0
    shm_mib: int = 64
    disk_mib: int = 2048


@dataclass(frozen=True)
class Retry:
    """How often a transient failure (exit 75, killed, node gone) is tried again."""

    limit: int = 3
    backoff_s: float = 2.0
    factor: float = 2.0


@dataclass(frozen=True)
class Stage:
    """One row of the table."""

    name: str
    scope: Scope
    digest: InputDigest
    """which input digest its key hangs on"""
    entry: str | None
    """`module:function`, called with a StageContext; None: not built yet, ends `disabled`"""
    version: int
    """raised when the same inputs give other numbers"""
    resources: Resources
    needs: tuple[str, ...] = ()
    """hard: without them the stage is omitted"""
    uses: tuple[str, ...] = ()
    """soft: waits for them to end, however they end"""
    image: ImageClass = "cpu"
    pool: str | None = None
    """named limit of how many run at once"""
    config: tuple[str, ...] = ()
    """sections and top-level keys of the configuration that it reads, or single fields of a section (`dvh.end_cap`)"""
    libraries: tuple[str, ...] = ()
    """distributions that compute its numbers; their versions enter the settings digest"""
    reader: bool = False
    """reads the export and the private folder, with the cohort's secret"""
    retry: Retry = Retry()

    @property
    def upstream(self) -> tuple[str, ...]:
        """Hard and soft dependencies."""
        return self.needs + self.uses

    @property
    def opens_store(self) -> bool:
        """Whether its pod reads the bucket itself: the export, or what every course has left."""
        return self.reader or self.scope == "cohort"


_COURSE_STAGES = (
    "prepare_images",
    "prepare_rt",
    "segmentation",
    "custom_models",
    "structures",
    "dvh",
    "radiomics",
    "robustness",
)

_TABLE = (
    Stage(
        "organize", "cohort", "listing", "rtpipeline.organize.stage:run", 1,
        Resources(cpu=4, threads=1, memory_mib=(4096, 8192, 16384), timeout_s=6 * 3600, disk_mib=8192),
        config=("identity", "course_gap_days", "organize"),
        libraries=("pydicom",), reader=True,
    ),
    Stage(
        "prepare_images", "course", "image", "rtpipeline.prepare.images:run", 2,
        Resources(cpu=1, threads=1, memory_mib=(3072, 6144, 12288), timeout_s=3600, disk_mib=4096),
        config=("images",),
        libraries=("pydicom", "numpy", "SimpleITK"), reader=True,
    ),
    Stage(
        "prepare_rt", "course", "course", "rtpipeline.prepare.rt:run", 3,
        Resources(cpu=1, threads=1, memory_mib=(2048, 4096, 8192), timeout_s=3600, disk_mib=4096),
        config=("manifest",),
        libraries=("pydicom", "numpy", "scipy", "numba"), reader=True,
    ),
    Stage(
        "segmentation", "course", "image", "rtpipeline.segmentation.stage:run", 1,
        Resources(cpu=4, threads=4, memory_mib=(12288, 24576, 49152), timeout_s=4 * 3600, gpu=1, shm_mib=2048, disk_mib=16384),
        needs=("prepare_images",), image="gpu", pool="seg_workers",
        config=("segmentation",),
        libraries=("TotalSegmentator", "nnunetv2", "torch", "SimpleITK", "numpy"),
    ),
    Stage(
        "custom_models", "course", "image", "rtpipeline.segmentation.custom_stage:run", 1,
        Resources(cpu=4, threads=4, memory_mib=(12288, 24576, 49152), timeout_s=4 * 3600, gpu=1, shm_mib=2048, disk_mib=16384),
        needs=("prepare_images",), uses=("segmentation",), image="gpu", pool="custom_seg_workers",
        config=("custom_models", "segmentation"),
        libraries=("nnunetv2", "torch", "SimpleITK", "numpy", "scipy"),
    ),
    Stage(
        "structures", "course", "course", "rtpipeline.structures.stage:run", 4,
        Resources(cpu=1, threads=1, memory_mib=(2048, 4096, 8192), timeout_s=3600),
        needs=("prepare_images", "prepare_rt"), uses=("segmentation", "custom_models"),
        config=("structure_names", "custom_structures", "ct_cropping", "dvh.end_cap"),
        libraries=("numpy", "numba", "scipy"),
    ),
    Stage(
        "dvh", "course", "course", "rtpipeline.dvh.stage:run", 5,
        Resources(cpu=1, threads=1, memory_mib=(2048, 4096, 8192), timeout_s=3600),
        needs=("prepare_rt", "structures"),
        config=("dvh", "manifest"),
        libraries=("numpy", "numba", "scipy"),
    ),
    Stage(
        "radiomics", "course", "course", "rtpipeline.radiomics.stage:run", 1,
        Resources(cpu=4, threads=1, memory_mib=(4096, 8192, 16384), timeout_s=6 * 3600),
        needs=("prepare_images", "structures"),
        config=("radiomics",),
        libraries=("pyradiomics-bhklab", "PyWavelets", "SimpleITK", "numpy"),
    ),
    Stage(
        "robustness", "course", "course", "rtpipeline.robustness.stage:run", 1,
        Resources(cpu=4, threads=1, memory_mib=(4096, 8192, 16384), timeout_s=12 * 3600),
        needs=("prepare_images", "structures"),
        config=("radiomics_robustness", "radiomics", "seed"),
        libraries=("pyradiomics-bhklab", "PyWavelets", "SimpleITK", "scipy", "numpy"),
    ),
    Stage(
        "qc", "course", "course", "rtpipeline.qc.stage:run", 1,
        Resources(cpu=1, threads=1, memory_mib=(2048, 4096), timeout_s=3600),
        uses=_COURSE_STAGES,
        config=("qc",),
        libraries=("numpy", "scipy", "pillow"),
    ),
    Stage(
        "aggregation", "cohort", "run", "rtpipeline.aggregation.stage:run", 1,
        Resources(cpu=2, threads=1, memory_mib=(4096, 8192, 16384), timeout_s=3 * 3600, disk_mib=8192),
        uses=(*_COURSE_STAGES, "qc"),
        config=("aggregation",),
        libraries=("pandas", "pyarrow"),
    ),
)  # fmt: skip

STAGES: dict[str, Stage] = {stage.name: stage for stage in _TABLE}
"""By name, in an order in which every stage comes after what it waits for."""

COURSE_STAGES: tuple[str, ...] = tuple(s.name for s in _TABLE if s.scope == "course")


def dependants(name: str) -> set[str]:
    """Stages that wait for this one, directly or through others (those that `--force` invalidates too)."""
    found: set[str] = set()
    for stage in STAGES.values():
        if name in stage.upstream or found & set(stage.upstream):
            found.add(stage.name)
    return found
