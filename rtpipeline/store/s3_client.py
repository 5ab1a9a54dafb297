"""The S3 client of this process. Where S3 is and who asks comes from the environment alone, and is read here alone.

| variable | meaning |
| --- | --- |
| AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL | a server other than AWS, such as `https://s3.hospital.example:9000` |
| AWS_DEFAULT_REGION, AWS_REGION | region; any word for most servers other than AWS |
| AWS_CA_BUNDLE | file with the certificate authority of the server |
| AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN | keys; else AWS_PROFILE or a role, as boto3 finds them |
| AWS_MAX_ATTEMPTS | most attempts at one request; without it they go on for 45 s |
| RTPIPELINE_S3_ADDRESSING | auto, path or virtual; path where an endpoint is set, else auto |
| RTPIPELINE_S3_ANONYMOUS | 1: requests are not signed, for public data |
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from rtpipeline import __version__
from rtpipeline.errors import UsageError

PART_ATTEMPTS = 8
"""At one part of a large upload, which boto3 makes itself, with pauses that double."""
CONNECTIONS = 32
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
ADDRESSING = ("auto", "path", "virtual")

_SETTINGS = ("AWS_", "RTPIPELINE_S3_")
_clients: dict[tuple[int, frozenset[tuple[str, str]]], Any] = {}
_lock = threading.Lock()


def s3_client(attempts: int = 1) -> Any:
    """The client for the environment as it is now, made once in a process; threads may share it.

    Parameters
    ----------
    attempts: of boto3 at one request. Whoever asks through `s3_errors.ask` needs no more than 1: boto3's own way
        (mode standard) gives up at once where many threads meet a server that is away, since they share a quota.

    Raises
    ------
    UsageError: boto3 is missing, or the environment names something that cannot be.
    """
    seen = frozenset((name, value) for name, value in os.environ.items() if name.startswith(_SETTINGS))
    with _lock:
        client = _clients.get((attempts, seen))
        if client is None:
            client = _clients[attempts, seen] = _make(os.environ, attempts)
        return client


def most_attempts() -> int | None:
    """What AWS_MAX_ATTEMPTS says; None where it says nothing.

    Raises
    ------
    UsageError: it is no whole number of at least 1.
    """
    text = os.environ.get("AWS_MAX_ATTEMPTS", "")
    if text and (not text.isdigit() or int(text) < 1):
        raise UsageError(f"AWS_MAX_ATTEMPTS is {text!r}; it has to be a whole number of at least 1")
    return int(text) if text else None


def endpoint() -> str:
    """The S3 server as messages name it; a password within the URL is left out."""
    url = _endpoint_url(os.environ)
    if not url:
        return "AWS S3"
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _endpoint_url(environment: Mapping[str, str]) -> str:
    if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return ""
    return environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""


def _make(environment: Mapping[str, str], attempts: int) -> Any:
    try:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise UsageError("s3:// needs boto3: pip install 'rtpipeline[cluster]'") from error
    own_server = bool(_endpoint_url(environment))
    addressing = environment.get("RTPIPELINE_S3_ADDRESSING") or ("path" if own_server else "auto")
    if addressing not in ADDRESSING:
        raise UsageError(f"RTPIPELINE_S3_ADDRESSING is {addressing!r}; it can be {', '.join(ADDRESSING)}")
    options: dict[str, Any] = {
        "s3": {"addressing_style": addressing},
        # checksums in trailers, boto3's new default, are not understood by S3 servers of before 2025
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "connect_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": READ_TIMEOUT_S,
        "max_pool_connections": CONNECTIONS,
        "tcp_keepalive": True,
        "retries": {"mode": "legacy", "total_max_attempts": attempts},
        "user_agent_extra": f"rtpipeline/{__version__}",
    }
    if environment.get("RTPIPELINE_S3_ANONYMOUS", "") not in ("", "0"):
        options["signature_version"] = UNSIGNED
    authority = environment.get("AWS_CA_BUNDLE")
    if authority and not Path(authority).exists():
        raise UsageError(f"AWS_CA_BUNDLE is {authority}, and there is no such file")
    # a server other than AWS takes any region, and a signature needs one
    given = environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION")
    region = given or ("us-east-1" if own_server else None)
    try:
        # a session of its own, since boto3's default session is not safe for threads
        return boto3.session.Session().client("s3", region_name=region, config=Config(**options))
    except (BotoCoreError, ValueError, OSError) as error:
        raise UsageError(
            f"the S3 settings of the environment cannot be used ({type(error).__name__}). "
            "Check AWS_ENDPOINT_URL (with http:// or https://), AWS_DEFAULT_REGION, AWS_PROFILE and AWS_CA_BUNDLE."
        ) from error


# a connection must not be used by a process and its forked child
os.register_at_fork(after_in_child=_clients.clear)
