"""The pod that reads the export, unless that is done, and works out what is to run of every course."""

from __future__ import annotations

import json
import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path

from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.dicom.bucket_sources import BucketSource
from rtpipeline.dicom.sources import Source, listing_digest
from rtpipeline.errors import ExitCode, UsageError
from rtpipeline.execution.cluster_plan import (
    Facts,
    aggregation_key,
    cluster_plan,
    course_stage_paths,
    facts_id,
    items_parameter,
)
from rtpipeline.execution.outputs import Output, read_output
from rtpipeline.execution.plan import organize_key
from rtpipeline.execution.pod import Pod
from rtpipeline.execution.pod_readers import place_secret, private_store
from rtpipeline.execution.pod_sources import open_sources
from rtpipeline.execution.run_files import read_plan, write_plan
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from rtpipeline.organize.stage import REGISTRY_FILE
from rtpipeline.segmentation.catalogue import is_installed
from rtpipeline.store.folder import passing_folder, publish
from rtpipeline.store.keys import ABSENT_LIBRARY, library_version, stage_path
from rtpipeline.store.mirror import get, mirror_outputs, mirror_records
from rtpipeline.store.packing import DATA, RECORD, TABLES, pack
from rtpipeline.store.private_mark import FILES, MARKER, is_whole, mark, marked_key

log = logging.getLogger(__name__)

PARTS = {"data": DATA, "tables": TABLES, "record": RECORD}
"""Folders of `/work/out`, each with one object below the key: where it goes is known only when organize has its key."""


def run_organize(pod: Pod) -> ExitCode:
    """Read the export unless the store has what came of it; then plan, and leave both at `/work/out`.

    Raises
    ------
    UsageError: the pod lacks a source, store or secret, or the configuration keeps identifiers.
    TransientError, MemoryError, OSError: may pass by itself; nothing is left.
    """
    _check(pod)
    _check_catalogue(pod)
    place_secret(pod)
    sources = open_sources(pod)
    for source in sources:
        _check_source(source)
    key = organize_key(listing_digest(sources), pod.config)
    target = pod.folder.store / stage_path(pod.cohort, "organize", key)
    with passing_folder(pod.out) as scratch:
        if _kept(pod, key, target):
            log.info("%s organize: kept", pod.cohort)
        else:
            code = _organize(pod, key, target, sources)
            if code == ExitCode.TRANSIENT:
                return code
            _leave_output(pod, key, target, scratch, with_private=code == ExitCode.DONE)
            if code != ExitCode.DONE:
                publish(scratch, pod.out)
                return code
        output = read_output(target)
        if output is None or not output.has_result:
            log.error("%s organize: %s", pod.cohort, output.status if output else "no output")
            publish(scratch, pod.out)
            return ExitCode.DATA
        _leave_plan(pod, key, output, scratch)
        publish(scratch, pod.out)
    return ExitCode.DONE


def _check(pod: Pod) -> None:
    request = pod.request
    if not request.run_id:
        raise UsageError("the pod of organize needs --run-id ID.")
    if pod.config.identity == "keep" and not request.allow_identity_keep:
        raise UsageError(
            "the configuration says `identity: keep`, which would bring patient ids into the names of pods and keys; "
            "use `pseudonymize`, or --allow-identity-keep for an export that is de-identified already."
        )


def _check_catalogue(pod: Pod) -> None:
    """Which weights are in use TotalSegmentator's own tables say; without them the keys would leave weights out."""
    if not pod.config.segmentation.enabled or is_installed() or library_version("TotalSegmentator") == ABSENT_LIBRARY:
        return
    raise UsageError(
        "this image lacks TotalSegmentator, which the image for networks has by the pins; install it here too, "
        "without its dependencies, or set segmentation.enabled to false."
    )


def _check_source(source: Source) -> None:
    if isinstance(source, BucketSource):
        source.check()
    elif not source.exists():
        raise UsageError("the folder of --source does not exist in the pod; give an s3:// URL or mount it.")


def _kept(pod: Pod, key: str, target: Path) -> bool:
    """Whether the store has organize's output under this key and the index made with it; then it lies at `target`."""
    private = private_store(pod)
    marker = get(private, MARKER)
    if marker is None or marked_key(marker) != key or not is_whole(marker, private.size):
        return False
    path = stage_path(pod.cohort, "organize", key)
    if mirror_outputs(pod.store, pod.folder, [path], tables_only=False):
        return False
    output = read_output(target)
    return output is not None and output.has_result


def _organize(pod: Pod, key: str, target: Path, sources: tuple[Source, ...]) -> ExitCode:
    registry = get(private_store(pod), REGISTRY_FILE)
    if registry is not None:
        (pod.folder.private / REGISTRY_FILE).write_bytes(registry)
    return run_stage(
        StageRequest(
            stage="organize",
            cohort=pod.cohort,
            out=target,
            config=pod.config,
            stage_key=key,
            sources=sources,
            private=pod.folder.private,
            run_id=pod.request.run_id,
            workers=pod.workers,
        )
    )


def _leave_output(pod: Pod, key: str, target: Path, scratch: Path, *, with_private: bool) -> None:
    packed = pod.request.work / "packed"
    pack(target, packed)
    for folder, name in PARTS.items():
        (scratch / folder / key).mkdir(parents=True)
        (packed / name).rename(scratch / folder / key / name)
    if with_private:
        private = scratch / "private"
        private.mkdir(mode=0o700)
        for name in FILES:
            shutil.copyfile(pod.folder.private / name, private / name)
        (private / MARKER).write_bytes(mark(key, private))


def _leave_plan(pod: Pod, key: str, organize: Output, scratch: Path) -> None:
    """The plan of the run, the facts that it hangs on, and what the workflow is told of them."""
    request, folder, config = pod.request, pod.folder, pod.config
    manifest = CohortManifest.load(organize.folder)
    facts = Facts.here(config)
    settings = facts.settings(config)
    mirror_records(pod.store, folder, course_stage_paths(manifest, pod.cohort, settings))
    plan = cluster_plan(manifest, config, folder, key, settings)
    write_plan(folder, request.run_id, plan, datetime.now(UTC).isoformat(timespec="seconds"))
    shutil.copyfile(folder.run(request.run_id) / "plan.json", scratch / "plan.json")
    name = facts_id(config, **{"cpu_image": "", "gpu_image": "", "weights": ""} | request.images)
    (scratch / "facts").mkdir()
    (scratch / "facts" / f"{name}.json").write_bytes(facts.to_json())
    items = items_parameter(plan)
    log.info("%s: %d courses", pod.cohort, len(plan.course_ids))
    parameters = {
        "items": items,
        "settings": json.dumps(settings, separators=(",", ":")),
        "organize_key": key,
        "aggregation_key": aggregation_key(read_plan(folder, request.run_id)),
        "facts_id": name,
    }
    (scratch / "parameters").mkdir()
    for parameter, text in parameters.items():
        (scratch / "parameters" / parameter).write_text(text)
