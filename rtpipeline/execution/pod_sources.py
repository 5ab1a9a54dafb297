"""The export as a pod is told of it: folders, or URLs of a bucket; and the part of it that a course's pod fetches."""

from __future__ import annotations

from collections import defaultdict

import pyarrow as pa

from rtpipeline.contracts.manifests import Course
from rtpipeline.dicom.bucket_sources import BucketPrefix, BucketSource, fetch_files, sources_of
from rtpipeline.dicom.sources import Source
from rtpipeline.errors import UsageError
from rtpipeline.execution.pod import Pod
from rtpipeline.store.bucket import is_url


def open_sources(pod: Pod) -> tuple[Source, ...]:
    """The sources, in the order in which the index numbers them.

    Raises
    ------
    UsageError: none was given, or the store lies inside of one, where it would be read as part of the export.
    """
    sources = tuple(source for text in pod.request.sources for source in sources_of(text))
    if not sources:
        raise UsageError(f"the pod of {pod.request.stage} needs --source URL.")
    if is_url(pod.request.store):
        inside = f"{pod.store.url}/"
        if any(isinstance(s, BucketPrefix) and inside.startswith(f"{s.bucket.url}/") for s in sources):
            raise UsageError("the store lies inside of the source; give the prefix of the export alone.")
    return sources


def fetched_sources(pod: Pod, course: Course, rows: pa.Table) -> tuple[Source, ...]:
    """The sources for the stage of one course: of those in a bucket, its files on the pod's disk.

    A source in which objects of the course lie in archives stays where it is: of archives parts are read.

    Parameters
    ----------
    rows: the course's rows of the index.
    """
    wanted: dict[int, set[str]] = defaultdict(set)
    archives: set[int] = set()
    prepared = {image.image_id for image in course.images if image.prepare}
    names = ("source", "path", "member", "use", "kind", "object_id")
    for number, path, member, use, kind, object_id in zip(*(rows[n].to_pylist() for n in names), strict=True):
        of_stage = object_id in prepared if pod.stage.digest == "image" else kind != "image"
        if use == "used" and of_stage:
            wanted[number].add(path)
            if member:
                archives.add(number)
    found: list[Source] = []
    for number, source in enumerate(open_sources(pod)):
        if isinstance(source, BucketSource) and number not in archives:
            folder = pod.request.work / "export" / str(number)
            folder.mkdir(parents=True, exist_ok=True)
            fetch_files(source, wanted[number], folder)
            found.append(folder)
        else:
            found.append(source)
    return tuple(found)
