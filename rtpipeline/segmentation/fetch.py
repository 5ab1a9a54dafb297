"""Networks as a person asks for them: what is there, and the download by the library's own function."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rtpipeline.errors import TransientError, UsageError
from rtpipeline.execution.environment import process_environment, totalsegmentator_license, totalsegmentator_weights
from rtpipeline.segmentation.catalogue import Network, Task
from rtpipeline.segmentation.failures import Ended
from rtpipeline.segmentation.weights import Weights, record_sums, weights_of

log = logging.getLogger(__name__)

State = Literal["ok", "missing", "damaged"]

DOWNLOAD = (
    "import sys\n"
    "from totalsegmentator.config import setup_totalseg\n"
    "from totalsegmentator.libs import download_pretrained_weights\n"
    "setup_totalseg()\n"
    "download_pretrained_weights(int(sys.argv[1]))\n"
)
"""What the library's own command does for each dataset of a task, whose table of tasks lacks the 6 mm networks."""


@dataclass(frozen=True)
class NetworkStatus:
    """One network of a task in the folder of weights."""

    task: str
    mode: str
    network: Network
    weights: Weights

    @property
    def state(self) -> State:
        """Whether all of its files are there and whole."""
        return "missing" if self.weights.missing else "damaged" if self.weights.damaged else "ok"

    def line(self) -> str:
        """For a terminal."""
        named = [*(f"{name} is missing" for name in self.weights.missing), *self.weights.damaged]
        faults = [fault.removeprefix(f"{self.network.path}/") for fault in named]
        return "  ".join(
            [f"{self.state:7}", f"{self.task} ({self.mode})", self.network.path, "; ".join(faults)]
        ).rstrip()

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "task": self.task,
            "mode": self.mode,
            "dataset": self.network.dataset,
            "path": self.network.path,
            "state": self.state,
            "sha256": self.weights.files,
            "missing": list(self.weights.missing),
            "damaged": list(self.weights.damaged),
        }


def status_of(task: Task, *, record: bool = False) -> list[NetworkStatus]:
    """The state of every network of a task; `record` writes the hashes of whole ones into SHA256SUMS first."""
    if record:
        for network in task.networks:
            # what is listed already stays listed: a file that differs from it is damaged, not new
            found = weights_of([network], demo=False)
            if found.is_usable:
                record_sums(found.root, found.files)
    return [NetworkStatus(task.name, task.mode, n, weights_of([n], demo=False)) for n in task.networks]


def fetch(tasks: Sequence[Task], program: Sequence[str] = (sys.executable, "-c", DOWNLOAD)) -> None:
    """Download the networks of these tasks that are not there, and record their hashes.

    Raises
    ------
    UsageError: a task needs a licence and none is set, or the folder holds a damaged network.
    TransientError: the download failed.
    """
    for task in tasks:
        if task.needs_license and totalsegmentator_license() is None:
            raise UsageError(
                f"task {task.name} needs a licence: get a number at "
                "https://backend.totalsegmentator.com/license-academic/ and set TOTALSEG_LICENSE."
            )
    for network in dict.fromkeys(network for task in tasks for network in task.networks):
        found = weights_of([network], demo=False)
        if found.is_usable:
            log.info("%s is there", network.folder)
            continue
        if found.damaged:
            raise UsageError(f"{'; '.join(found.damaged)}: remove {found.root / network.folder} and fetch it again.")
        # the library takes a folder that exists for a whole one, so that half a network would never be mended
        if (found.root / network.folder).exists():
            raise UsageError(f"{found.root / network.folder} lacks {found.missing[0]}: remove it and fetch it again.")
        _download(network, program)


def _download(network: Network, program: Sequence[str]) -> None:
    root = totalsegmentator_weights()
    root.mkdir(parents=True, exist_ok=True)
    # the library unpacks where it stands: into a folder of our own, so that an interrupted one leaves nothing behind
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=root) as folder:
        (Path(folder) / "config.json").write_text(
            json.dumps({"send_usage_stats": False, "license_number": totalsegmentator_license() or ""})
        )
        environment = process_environment(1) | {"TOTALSEG_HOME_DIR": folder, "TOTALSEG_WEIGHTS_PATH": folder}
        done = subprocess.run(
            [*program, str(network.dataset)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        arrived = Path(folder) / network.folder
        if done.returncode != 0 or not arrived.is_dir():
            reason = Ended(done.returncode, done.stdout).reason
            raise TransientError(
                f"{network.folder} could not be downloaded ({reason}). Without a network, unpack "
                f"{network.folder}.zip of TotalSegmentator's releases into {root}, then "
                "`rtpipeline weights verify --record`."
            )
        shutil.move(arrived, root / network.folder)
    found = weights_of([network], demo=False)
    if not found.is_usable:
        raise TransientError(f"{network.folder} came incomplete: {'; '.join(found.missing or found.damaged)}.")
    record_sums(root, found.files)
    log.info("%s fetched", network.folder)
