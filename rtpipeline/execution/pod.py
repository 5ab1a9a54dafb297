"""A pod of a cluster: from the objects that lie below `/work/in` to those that appear at `/work/out`.

Clusters collect the outputs of failed containers too: there is nothing at `/work/out` before the one rename at the end.
The stages themselves run as on one machine (`stage_entry.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rtpipeline.config import Config
from rtpipeline.errors import ExitCode, TransientError, UsageError
from rtpipeline.execution.environment import available_cpus
from rtpipeline.execution.stage_entry import passing_kind
from rtpipeline.stages import STAGES, Stage
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.configuration import named_configuration
from rtpipeline.store.folder import CohortFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PodRequest:
    """What a pod is told on its command line."""

    stage: str
    cohort: str
    work: Path
    course_id: str = ""
    key: str = ""
    run_id: str = ""
    configuration: str = ""
    sources: tuple[str, ...] = ()
    """folders or URLs of the export"""
    store: str = ""
    """URL of the store; for stages that open it only"""
    secret_file: Path | None = None
    images: dict[str, str] = field(default_factory=dict)
    """organize only: names of `cpu_image`, `gpu_image` and `weights`, by which the facts about them are found again"""
    allow_identity_keep: bool = False


class Pod:
    """The places of a pod, and what every stage needs of it."""

    def __init__(self, request: PodRequest) -> None:
        self.request = request
        self.cohort = request.cohort

    @property
    def stage(self) -> Stage:
        """Row of the stage table."""
        return STAGES[self.request.stage]

    @property
    def given(self) -> Path:
        """Where the cluster puts the inputs."""
        return self.request.work / "in"

    @property
    def out(self) -> Path:
        """Appears by a rename when everything is done."""
        return self.request.work / "out"

    @property
    def folder(self) -> CohortFolder:
        """A store on the pod's own disk, in which everything lies as on one machine."""
        return CohortFolder(self.request.work / "store", self.cohort)

    @cached_property
    def config(self) -> Config:
        """The run's configuration.

        Raises
        ------
        UsageError: there is none of the name that the pod was given, or it cannot be used.
        """
        unpacked = self.request.work / "configuration"
        return named_configuration(self.request.configuration, self.given / "config.tgz", unpacked)

    @property
    def store(self) -> Bucket:
        """The bucket of the store.

        Raises
        ------
        UsageError: the pod was not told.
        """
        if not self.request.store:
            raise UsageError(f"the pod of {self.request.stage} needs --store URL.")
        return Bucket.open(self.request.store)

    @property
    def workers(self) -> int:
        """Processes of the stage: all CPUs of the container, fewer where the configuration says so."""
        cpus = available_cpus()
        return cpus if self.config.workers == "auto" else max(1, min(int(self.config.workers), cpus))


def run_pod(request: PodRequest, work: Callable[[Pod], ExitCode]) -> ExitCode:
    """Do a pod's work; what may pass by itself ends with the transient code.

    Raises
    ------
    UsageError: the pod lacks something or was told something wrong.
    """
    try:
        return work(Pod(request))
    except (TransientError, MemoryError, OSError) as error:
        kind = passing_kind(error)
        if kind is None:
            raise
        # of our own errors the text too, which quotes no data; of others only the kind
        text = str(error) if isinstance(error, TransientError) else type(error).__name__
        log.warning("%s %s: %s: %s", request.course_id or request.cohort, request.stage, kind, text)
        return ExitCode.TRANSIENT
