"""The object `private/withdrawals`: a line for each time that a patient was removed from a cohort's store in a bucket.

A line says when, and nothing about whom. Machines keep the cohort in a cache and send what the bucket lacks; one whose
lines differ from the bucket's has to drop that instead, or it would bring the patient back.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

WITHDRAWALS = "withdrawals"


def with_another(content: bytes | None) -> bytes:
    """The object with a line that it never had.

    Parameters
    ----------
    content: of the object; None where there is none.
    """
    return (content or b"") + f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {secrets.token_hex(8)}\n".encode()
