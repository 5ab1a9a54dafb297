"""The export as a pod is told of it: folders, or URLs of a bucket."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rtpipeline.dicom.sources import listing_digest
from rtpipeline.errors import UsageError
from rtpipeline.execution.pod import Pod


def open_sources(pod: Pod) -> tuple[Path, ...]:
    """The sources, in the order in which the index numbers them.

    Raises
    ------
    UsageError: there is none, or a folder that does not exist.
    """
    sources = tuple(Path(source) for source in pod.request.sources)
    if not sources:
        raise UsageError(f"the pod of {pod.request.stage} needs --source URL.")
    return sources


def listing_of(sources: Sequence[Path]) -> str:
    """Digest of the listing: what organize hangs on."""
    return listing_digest(sources)
