"""The pod of one stage of one course."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rtpipeline.errors import ExitCode, UsageError
from rtpipeline.execution.outputs import Output
from rtpipeline.execution.pod import Pod
from rtpipeline.execution.pod_inputs import check_settings, unpacked_output, up_to_date, upstream_now
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from rtpipeline.stages import Stage
from rtpipeline.store.keys import stage_path
from rtpipeline.store.packing import pack

if TYPE_CHECKING:
    from rtpipeline.dicom.sources import Source

log = logging.getLogger(__name__)

PREVIOUS = "previous"
"""Below `/work/in`: the output that lies under this pod's own key."""


def run_course_stage(pod: Pod) -> ExitCode:
    """Keep the output that is there, or compute it and leave it at `/work/out`.

    Raises
    ------
    UsageError: the pod lacks an input that the stage needs, or its key does not fit what it would compute with.
    TransientError, MemoryError, OSError: may pass by itself; nothing is left.
    """
    request, stage = pod.request, pod.stage
    if not request.course_id or not request.key:
        raise UsageError(f"the pod of {stage.name} needs --course ID and --key KEY.")
    organize = _organize(pod)
    inputs = _inputs(pod, stage)
    target = pod.folder.store / stage_path(pod.cohort, stage.name, request.key, request.course_id)
    previous = unpacked_output(pod.given / PREVIOUS, target, needed=False)
    if previous is not None and previous.is_final and dict(previous.upstream) == upstream_now(stage, inputs):
        log.info("%s %s: kept %s", request.course_id, stage.name, previous.status)
        return ExitCode.DATA if previous.status == "data_error" else ExitCode.DONE
    check_settings(stage, request.key, pod.config, inputs)
    sources: tuple[Source, ...] = ()
    if stage.reader:
        from rtpipeline.execution.pod_readers import read_for_course

        sources = read_for_course(pod, organize)
    code = run_stage(
        StageRequest(
            stage=stage.name,
            cohort=pod.cohort,
            out=target,
            config=pod.config,
            stage_key=request.key,
            course_id=request.course_id,
            inputs={"organize": organize.folder, **{name: output.folder for name, output in inputs.items()}},
            sources=sources,
            private=pod.folder.private if stage.reader else None,
            run_id=request.run_id,
            workers=pod.workers,
        )
    )
    if code != ExitCode.TRANSIENT:
        pack(target, pod.out)
    return code


def _organize(pod: Pod) -> Output:
    folder = pod.folder.root / "organize" / "given"
    output = unpacked_output(pod.given / "organize", folder, needed=True)
    if output is None or not output.has_result:
        raise UsageError(f"the pod of {pod.request.stage} needs the output of organize below {pod.given}.")
    return output


def _inputs(pod: Pod, stage: Stage) -> dict[str, Output]:
    """The outputs of the stages waited for that are of this run."""
    found = {}
    for name in stage.upstream:
        folder = pod.folder.root / "inputs" / name
        found[name] = unpacked_output(pod.given / name, folder, needed=name in stage.needs)
    return up_to_date(found, stage.upstream)
