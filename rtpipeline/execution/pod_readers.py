"""What the pods that read the export fetch before their stage begins: the secret, a course's part of the index."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from rtpipeline.contracts.manifests import CohortManifest, Course
from rtpipeline.dicom.sources import Source
from rtpipeline.errors import UsageError
from rtpipeline.execution.outputs import Output
from rtpipeline.execution.pod import Pod
from rtpipeline.execution.pod_sources import fetched_sources
from rtpipeline.organize.digests import course_digest, image_digest, indexed_contents
from rtpipeline.organize.stage import INDEX_FILE
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.identity import load_or_make_secret


def private_store(pod: Pod) -> Bucket:
    """The part of the bucket that alone may say who a patient is."""
    return pod.store.child(pod.cohort, "private")


def place_secret(pod: Pod) -> None:
    """Put the cohort's secret where stages read it.

    Raises
    ------
    UsageError: the pod was given none.
    """
    if pod.request.secret_file is None:
        raise UsageError(f"the pod of {pod.request.stage} needs --secret-file FILE.")
    pod.folder.make()
    load_or_make_secret(pod.folder.private, pod.request.secret_file)


def read_for_course(pod: Pod, organize: Output) -> tuple[Source, ...]:
    """Put the secret and the course's rows of the index where the stage reads them; its sources.

    Raises
    ------
    UsageError: the bucket holds no index, or one in which the course is another than in organize's output.
    """
    place_secret(pod)
    try:
        with private_store(pod).open_file(INDEX_FILE) as file:
            # the index is sorted by course: of a file with statistics only the parts with this one are fetched
            rows = pq.read_table(file, filters=[("course_id", "=", pod.request.course_id)])
    except KeyError:
        raise UsageError(f"cohort {pod.cohort} has no index in the bucket; organize has to run first.") from None
    course = _course(pod, organize)
    _check_rows(pod, course, rows)
    pq.write_table(rows, pod.folder.private / INDEX_FILE, compression="zstd")
    return fetched_sources(pod, course, rows)


def _course(pod: Pod, organize: Output) -> Course:
    try:
        return CohortManifest.load(organize.folder).course(pod.request.course_id)
    except KeyError:
        raise UsageError(f"course {pod.request.course_id} is not in organize's output.") from None


def _check_rows(pod: Pod, course: Course, rows: pa.Table) -> None:
    """The index may be of a later export than the plan of this run: then this course has to be the same in both."""
    contents = indexed_contents(rows, whole_content=pod.config.organize.verify_content)
    by_image = pod.stage.digest == "image"
    planned = course.image_digest if by_image else course.course_digest
    try:
        found = (image_digest if by_image else course_digest)(course, contents)
    except KeyError:  # an image that the index does not have
        found = ""
    if found != planned:
        raise UsageError(
            f"course {course.course_id} has changed: a later run has read the export again since this one was "
            "planned; submit again."
        )
