"""The files of one run: `plan.json`, `config.yaml`, and what only `private/` may hold (the paths of the inputs)."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rtpipeline.config import Config, config_yaml, parse_config, without_folders
from rtpipeline.errors import UsageError
from rtpipeline.execution.plan import CohortPlan, Item
from rtpipeline.store.folder import CohortFolder, write_atomically

if TYPE_CHECKING:
    from rtpipeline.dicom.sources import Source

TIME_FORMAT = "%Y%m%d-%H%M%S"
TIME_LENGTH = 15


def make_run_id(keys_digest: str, now: datetime | None = None) -> str:
    """`<UTC time>-<6 hex of the digest of all keys>`: sorts by time, and is a valid Kubernetes name."""
    return f"{(now or datetime.now(UTC)):{TIME_FORMAT}}-{keys_digest[:6]}"


def new_run(folder: CohortFolder, keys_digest: str, now: datetime) -> str:
    """An id that sorts after every run of this cohort, also after one of the same second."""
    times = []
    for run in (folder.root / "runs").glob("*"):
        with contextlib.suppress(ValueError):  # a folder of somebody else's
            times.append(datetime.strptime(run.name[:TIME_LENGTH], TIME_FORMAT).replace(tzinfo=UTC))
    return make_run_id(keys_digest, max([now, *(time + timedelta(seconds=1) for time in times)]))


def runs(folder: CohortFolder) -> list[str]:
    """The runs that have a plan, the newest last."""
    return sorted(p.parent.name for p in (folder.root / "runs").glob("*/plan.json"))


def latest_run(folder: CohortFolder) -> str | None:
    """The newest run that has a plan; None when there is none."""
    return next(reversed(runs(folder)), None)


def write_plan(folder: CohortFolder, run_id: str, plan: CohortPlan, started_utc: str) -> None:
    """Write `plan.json`: which outputs make up the run, and how each stands (null while it has not ended)."""
    courses = [
        {"course_id": course_id, "stages": {name: _entry(i, folder) for name, i in plan.course(course_id).items()}}
        for course_id in sorted(plan.course_ids)
    ]
    content = {
        "run_id": run_id,
        "cohort": folder.cohort,
        "started_utc": started_utc,
        "organize_key": plan.organize_key,
        "settings": plan.settings,
        "config": without_folders(plan.config),
        "courses": courses,
    }
    write_atomically(folder.run(run_id) / "plan.json", (json.dumps(content, indent=1) + "\n").encode())


def _entry(item: Item, folder: CohortFolder) -> dict[str, Any]:
    entry = {
        "key": item.key,
        "folder": item.folder.relative_to(folder.root).as_posix(),
        "status": item.status,
        "reason": item.reason,
    }
    return entry | ({"finding": item.finding} if item.finding else {})


def read_plan(folder: CohortFolder, run_id: str) -> dict[str, Any]:
    """`plan.json` of a run.

    Raises
    ------
    UsageError: there is no such run.
    """
    path = folder.run(run_id) / "plan.json"
    if not path.is_file():
        raise UsageError(f"run {run_id} has no plan.json in cohort {folder.cohort}; see `rtpipeline status`.")
    plan: dict[str, Any] = json.loads(path.read_bytes())
    return plan


def earlier_failures(folder: CohortFolder) -> dict[tuple[str, str, str], str]:
    """What the last run ended without an output, by course, stage and key: how it ended."""
    last = latest_run(folder)
    if last is None:
        return {}
    return {
        (course["course_id"], name, entry["key"]): f"{entry['status']}: {entry['reason']}"
        for course in read_plan(folder, last)["courses"]
        for name, entry in course["stages"].items()
        if entry["status"] in ("failed", "timeout")
    }


@dataclass(frozen=True)
class Remembered:
    """What `retry` starts again with."""

    inputs: tuple[Source, ...]
    config: Config


def remember_inputs(folder: CohortFolder, inputs: tuple[Source, ...], config: Config) -> None:
    """Keep the paths or URLs of the export and the configuration with its paths, under `private/`."""
    content = {"inputs": [str(source) for source in inputs], "config": config.model_dump(mode="json")}
    write_atomically(folder.private / "inputs.json", (json.dumps(content, indent=1) + "\n").encode())


def remembered_inputs(folder: CohortFolder) -> Remembered:
    """What the last run was started with.

    Raises
    ------
    UsageError: this cohort has not been run.
    """
    path = folder.private / "inputs.json"
    if not path.is_file():
        raise UsageError(f"cohort {folder.cohort} in {folder.store} has not been run; use `rtpipeline run` first.")
    content = json.loads(path.read_bytes())
    from rtpipeline.dicom.bucket_sources import sources_of

    inputs = tuple(source for text in content["inputs"] for source in sources_of(text))
    return Remembered(inputs, parse_config(content["config"], str(path)))


def write_config(folder: CohortFolder, run_id: str, config: Config) -> None:
    """Write the resolved configuration of a run; of files it keeps the name, not the folder."""
    text = config_yaml(parse_config(without_folders(config)))
    write_atomically(folder.run(run_id) / "config.yaml", text.encode())
