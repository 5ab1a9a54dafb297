"""One object, read once: its row of the index, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rtpipeline.dicom.encoding import DamagedError, NoObjectError, parse_object
from rtpipeline.dicom.row import Problem, RowBuilder
from rtpipeline.dicom.window import Window


@dataclass(slots=True)
class Header:
    """What reading one object gives."""

    row: dict[str, Any] | None
    """columns of SCAN_FIELDS but where it is; None where it is no object, or too damaged to name"""
    not_dicom: str = ""
    """what kind of file it is instead"""
    problems: list[Problem] = field(default_factory=list)


def read_header(window: Window, *, with_content: bool = False) -> Header:
    """The row of one object; of images only the header is read, of RT objects everything.

    Parameters
    ----------
    with_content: digest of the whole content for images too.

    Raises
    ------
    ArchiveReadError, OSError: from the source behind the window.
    """
    try:
        parsed = parse_object(window)
    except NoObjectError as error:
        return Header(None, not_dicom=str(error))
    except DamagedError as error:
        return Header(None, problems=[Problem(error.code, error.measured)])
    builder = RowBuilder(parsed)
    row = builder.build(with_content)
    return Header(row, problems=builder.problems)
