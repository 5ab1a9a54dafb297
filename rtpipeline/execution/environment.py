"""The container's CPUs and memory, and the thread limits of a stage's process.

The only reader of environment variables besides the command line. Everything here is about the container (cgroup v1 and
v2 quotas, CPU affinity), never about the host.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtpipeline.config import Config

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
"""Read by the numerical libraries when they are first imported."""

CGROUP = Path("/sys/fs/cgroup")
MIB = 1024 * 1024
MAX_AUTO_WORKERS = 32
MIN_AUTO_WORKERS = 4


SINGLE_THREADED = ("OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Always 1: OpenBLAS starts its threads when NumPy is imported, numexpr when pandas finds it, and a process with
threads cannot be forked safely."""


def thread_environment(threads: int) -> dict[str, str]:
    """Variables that hold every numerical library to `threads`; to be set before anything is imported."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads)) | dict.fromkeys(SINGLE_THREADED, "1")


def process_environment(threads: int) -> dict[str, str]:
    """This process's environment for a warm server: with the thread limits of its stages, and no thread at all yet.

    Arrow's allocator would start one in the background when it is loaded.
    """
    return {**os.environ, **thread_environment(threads), "JE_ARROW_MALLOC_CONF": "background_thread:false"}


def limit_threads(threads: int) -> None:
    """Hold this process to so many threads; it must not have imported a numerical library yet."""
    os.environ.update(thread_environment(threads))


def gpus(devices: Path = Path("/dev")) -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them; empty without any."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in (part.strip() for part in visible.split(",")) if name not in ("", "-1")]
    return sorted((p.name.removeprefix("nvidia") for p in devices.glob("nvidia[0-9]*")), key=int)


def one_gpu(gpu: str) -> dict[str, str]:
    """Variables that show a process one GPU; to be set before CUDA starts in it."""
    return {"CUDA_VISIBLE_DEVICES": gpu}


def totalsegmentator_weights() -> Path:
    """Folder in which TotalSegmentator looks for its weights (`TOTALSEG_WEIGHTS_PATH`, else below its home folder)."""
    if path := os.environ.get("TOTALSEG_WEIGHTS_PATH"):
        return Path(path)
    home = os.environ.get("TOTALSEG_HOME_DIR")
    return (Path(home) if home else Path.home() / ".totalsegmentator") / "nnunet" / "results"


def totalsegmentator_license() -> str | None:
    """Licence number for the tasks of TotalSegmentator that need one (`TOTALSEG_LICENSE`)."""
    return os.environ.get("TOTALSEG_LICENSE") or None


def _first_number(*paths: Path) -> float | None:
    for path in paths:
        try:
            text = path.read_text().split()[0]
        except (OSError, IndexError):
            continue
        if text.isdigit():
            return float(text)
    return None


def cpu_quota(cgroup: Path = CGROUP) -> float | None:
    """CPUs that the cgroup's quota allows; None without a quota."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()[:2]  # v2
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota_us = int((cgroup / "cpu/cpu.cfs_quota_us").read_text())  # v1
        period_us = int((cgroup / "cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def available_cpus(cgroup: Path = CGROUP) -> int:
    """CPUs that this process may use: affinity and quota, at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(cgroup)
    return max(1, min(affinity, math.floor(quota + 1e-6)) if quota else affinity)


def memory_limit_mib(cgroup: Path = CGROUP) -> int:
    """Memory that this container may use at all, MiB."""
    import psutil  # takes its time to load, and most commands ask for threads only

    total = psutil.virtual_memory().total
    limit = _first_number(cgroup / "memory.max", cgroup / "memory/memory.limit_in_bytes")
    return int(min(total, limit) if limit else total) // MIB


def available_memory_mib(cgroup: Path = CGROUP) -> int:
    """Memory that is free now within the container's limit, MiB."""
    import psutil

    free = psutil.virtual_memory().available
    limit = _first_number(cgroup / "memory.max", cgroup / "memory/memory.limit_in_bytes")
    used = _first_number(cgroup / "memory.current", cgroup / "memory/memory.usage_in_bytes")
    if limit and used and limit < psutil.virtual_memory().total:
        free = min(free, max(0, int(limit - used + _file_cache(cgroup))))
    return int(free) // MIB


def _file_cache(cgroup: Path) -> int:
    """Bytes of cached files: they count as used, and the kernel drops them before memory runs out."""
    for path, prefix in ((cgroup / "memory.stat", ""), (cgroup / "memory/memory.stat", "total_")):
        try:
            lines = dict(line.split()[:2] for line in path.read_text().splitlines())
        except (OSError, ValueError):
            continue
        return sum(int(lines.get(f"{prefix}{name}", 0)) for name in ("inactive_file", "active_file"))
    return 0


def workers(config: Config, cpus: int | None = None) -> int:
    """Courses and stages at once: the configured number, else CPUs - 2 within 4 to 32; never above the CPUs."""
    cpus = cpus or available_cpus()
    wanted = max(MIN_AUTO_WORKERS, min(MAX_AUTO_WORKERS, cpus - 2)) if config.workers == "auto" else config.workers
    return max(1, min(wanted, cpus))


def pool_limits(config: Config, cpus: int | None = None) -> dict[str, int]:
    """Limit of each named pool of the stage table; `auto` is one for each GPU."""
    total = workers(config, cpus)

    def limit(value: int | str) -> int:
        return min(max(1, len(gpus())) if value == "auto" else int(value), total)

    return {
        "seg_workers": limit(config.segmentation.workers),
        "custom_seg_workers": limit(config.custom_models.workers),
    }


def stage_threads(stage: str, config: Config) -> int:
    """Threads of one computation of a stage: the table's, or what the configuration's section sets for it.

    Part of the numbers for libraries whose last bits depend on it, so it never follows from `workers`.
    """
    from rtpipeline.stages import STAGES

    configured = {
        "segmentation": config.segmentation.threads_per_worker,
        "custom_models": config.segmentation.threads_per_worker,
        "radiomics": config.radiomics.thread_limit,
        "robustness": config.radiomics.thread_limit,
    }.get(stage)
    return configured or STAGES[stage].resources.threads
