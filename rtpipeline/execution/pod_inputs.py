"""What a course's pod finds below `/work/in`: the outputs of the stages it waits for, and its own of an earlier run."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

from rtpipeline.config import Config
from rtpipeline.contracts.manifests import Upstream
from rtpipeline.errors import TransientError, UsageError
from rtpipeline.execution.outputs import ABSENT, Output, read_output, read_record, state_of
from rtpipeline.execution.settings import weights_in_use
from rtpipeline.stages import STAGES, Stage
from rtpipeline.store.keys import settings_digest
from rtpipeline.store.packing import is_packed, unpack

log = logging.getLogger(__name__)


def unpacked_output(given: Path, folder: Path, *, needed: bool) -> Output | None:
    """The output that lies packed in `given`, now in `folder`; None where there is none.

    Objects of two outputs, as an upload leaves them that was cut off, are no output.

    Raises
    ------
    TransientError: they are of two outputs, and it is `needed`.
    UsageError: an archive holds an unsafe member.
    """
    if not is_packed(given):
        return None
    try:
        unpack(given, folder)
    except TransientError as error:
        if needed:
            raise
        log.warning("%s: left out: %s", given.name, error)
        return None
    return read_output(folder)


def up_to_date(outputs: Mapping[str, Output | None], known: Collection[str]) -> dict[str, Output]:
    """Those outputs of a course that were made from the others as they are now.

    A stage whose pod gave up leaves an older output in place, made from other inputs: it is none of this run.

    Parameters
    ----------
    outputs: by stage. known: the stages that were looked for; about what others were made of nothing can be said.
    """
    current: dict[str, Output] = {}
    for name, stage in STAGES.items():
        output = outputs.get(name)
        if output is None or lacking_need(stage, current, known):
            continue
        if not changed_upstream(stage, output, current, known):
            current[name] = output
    return current


def lacking_need(stage: Stage, current: Mapping[str, Output], known: Collection[str]) -> str:
    """The first hard dependency that cannot be used; '' when all can."""
    for name in stage.needs:
        if name in known and (name not in current or not current[name].is_usable):
            return name
    return ""


def changed_upstream(stage: Stage, output: Output, current: Mapping[str, Output], known: Collection[str]) -> list[str]:
    """The stages waited for that stand otherwise now than when the output was made."""
    return [
        name
        for name in stage.upstream
        if name in known and output.upstream.get(name, ABSENT) != state_of(current.get(name))
    ]


def upstream_now(stage: Stage, current: Mapping[str, Output]) -> dict[str, Upstream]:
    """As the stage's own record would say."""
    return {name: state_of(current.get(name)) for name in stage.upstream}


def check_settings(stage: Stage, key: str, config: Config, current: Mapping[str, Output]) -> None:
    """Refuse to compute under a key that stands for other settings than those that this pod would compute with.

    The digests of the stages waited for are in their records; where one has left none nothing can be said.

    Raises
    ------
    UsageError: the key does not fit the configuration, the libraries and the weights of this pod.
    """
    upstream: dict[str, str] = {}
    for name in stage.upstream:
        record = read_record(current[name].folder) if name in current else None
        if record is None:
            return
        upstream[name] = record["settings_digest"]
    weights = weights_in_use(config) if stage.name in ("segmentation", "custom_models") else {}
    found = settings_digest(stage.name, config, weights, upstream=upstream)
    planned = key.rpartition("-")[2]
    if found != planned:
        raise UsageError(
            f"the key {key} of {stage.name} stands for the settings {planned}, this pod has {found}: the image, the "
            "configuration or the weights are not those that the run was planned with; submit again. Where that ends "
            "the same way, images or weights have changed under their old names: give them new ones, or submit with "
            "--force organize."
        )
