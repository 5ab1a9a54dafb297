"""The last node of a workflow: red when courses failed, after everything else has been written."""

from __future__ import annotations

import logging

from rtpipeline.errors import ExitCode

log = logging.getLogger(__name__)


def verdict(failed: int) -> ExitCode:
    """The exit code for so many failed courses."""
    if failed:
        log.error("%d courses failed; the findings of the results say why", failed)
        return ExitCode.SOME_COURSES_FAILED
    return ExitCode.DONE
