"""Which stage may start now: slots, CPUs, named pools, and memory of the container.

Nothing here changes a number: how many processes a stage gets decides only how fast it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

from rtpipeline.config import Config
from rtpipeline.execution import environment
from rtpipeline.execution.ladder import expected_mib
from rtpipeline.stages import Stage

FLOOR_MIB = 512
"""No process of a stage is expected to need less."""

HEADROOM = 1.25
"""On the largest peak seen: the next course may be larger."""

ENOUGH_PEAKS = 3
"""Peaks that must have been seen before they replace the ladder's first rung."""

POOL, MACHINE = "pool", "machine"


@dataclass(frozen=True)
class Limits:
    """What all stages together may use."""

    slots: int
    """stages at once (`workers`)"""
    cpus: int
    memory_mib: int
    pools: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config) -> Limits:
        """Those of this container under a configuration."""
        cpus = environment.available_cpus()
        memory = environment.memory_limit_mib()
        if config.execution.memory_limit_mib is not None:
            memory = min(memory, config.execution.memory_limit_mib)
        slots = environment.workers(config, cpus)
        return cls(slots, cpus, memory, environment.pool_limits(config, cpus))


@dataclass(frozen=True)
class Grant:
    """What one attempt is given."""

    cpus: int
    workers: int
    """processes inside the stage"""
    memory_mib: int


class Admission:
    """Keeps account of what runs."""

    def __init__(self, limits: Limits, free_mib: Callable[[], int] = environment.available_memory_mib) -> None:
        self.limits = limits
        self._free_mib = free_mib
        self._running: dict[Hashable, tuple[Stage, Grant]] = {}
        self._peaks: dict[str, list[float]] = {}

    def observe(self, stage: str, peak_mib: float) -> None:
        """Learn from the peak memory of an output."""
        if peak_mib > 0:
            self._peaks.setdefault(stage, []).append(peak_mib)

    def expected(self, stage: Stage, rung: int) -> int:
        """Memory that one attempt is expected to need: by the peaks of this cohort once known, else by the ladder.

        An attempt after running out of memory counts with its rung at least.
        """
        peaks = self._peaks.get(stage.name, [])
        ladder = expected_mib(stage, rung)
        if len(peaks) < ENOUGH_PEAKS:
            return max(FLOOR_MIB, ladder)
        seen = math.ceil(HEADROOM * max(peaks))
        return max(FLOOR_MIB, seen if rung == 0 else max(seen, ladder))

    def start(
        self, task: Hashable, stage: Stage, threads: int, rung: int, waiting: int = 1, *, light: bool = False
    ) -> Grant | str:
        """Admit a task, or say what it has to wait for: its `pool`, or the `machine`.

        Parameters
        ----------
        waiting: tasks of stages with several processes that are ready, this one included; they share the free CPUs.
        light: the stage only records that there is nothing to do.
        """
        if not light and stage.pool is not None and self._in_pool(stage.pool) >= self.limits.pools.get(stage.pool, 1):
            return POOL
        memory = FLOOR_MIB if light else self.expected(stage, rung)
        free_cpus = self.limits.cpus - sum(grant.cpus for _, grant in self._running.values())
        cpus = 1 if light else _share(stage, threads, free_cpus, self.limits.cpus, waiting)
        if self._running and not (
            len(self._running) < self.limits.slots and 0 < cpus <= free_cpus and self._has_memory(memory)
        ):
            return MACHINE
        grant = Grant(cpus, max(1, cpus // threads), memory)
        self._running[task] = (stage, grant)
        return grant

    def end(self, task: Hashable) -> None:
        """A task has ended."""
        del self._running[task]

    @property
    def running(self) -> int:
        """Tasks that run."""
        return len(self._running)

    def is_hungry(self, pool: str, queued: int) -> bool:
        """Whether a pool will run dry: fewer of its tasks run or wait than it has places, and one more."""
        return self._in_pool(pool) + queued <= self.limits.pools.get(pool, 1)

    def _in_pool(self, pool: str) -> int:
        return Counter(stage.pool for stage, _ in self._running.values())[pool]

    def _has_memory(self, wanted_mib: int) -> bool:
        promised = sum(grant.memory_mib for _, grant in self._running.values())
        return promised + wanted_mib <= self.limits.memory_mib and wanted_mib <= self._free_mib()


def ends_at_once(stage: Stage, config: Config) -> bool:
    """Whether a stage only records that it is disabled: it needs no GPU, pool, or libraries then."""
    section = getattr(config, stage.config[0], None) if stage.config else None
    return stage.entry is None or getattr(section, "enabled", True) is False


def _share(stage: Stage, threads: int, free: int, total: int, waiting: int) -> int:
    """CPUs for a task: what the table asks for, more where they would lie idle, half of it rather than none."""
    wanted = min(total, max(threads, math.ceil(stage.resources.cpu)))
    if stage.resources.cpu <= threads:  # one process: more CPUs would not help it
        return wanted
    least = min(total, max(threads, math.ceil(wanted / 2)))
    return max(least, min(free, max(wanted, free // max(1, waiting))))
