"""What S3 and the way to it can say, as errors of ours: what is wrong, and what to do about it.

Messages name the server, the bucket and the operation. They name no key: below a source, keys are paths of patients.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from rtpipeline.errors import RTpipelineError, TransientError, UsageError
from rtpipeline.store.s3_client import endpoint, most_attempts

T = TypeVar("T")

ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
PRECONDITION = frozenset({"PreconditionFailed", "412"})
CONFLICT = frozenset({"ConditionalRequestConflict", "409"})
END_OF_OBJECT = frozenset({"InvalidRange", "416"})
PATIENCE_S = 45.0
"""A server that starts anew is away for less."""
PAUSE_S = 0.1
MOST_PAUSE_S = 3.0

_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"})
_BAD_KEYS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "InvalidToken", "401"})
_WRONG_REGION = frozenset(
    {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "307"}
)
_THROTTLED = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "429", "503"}
)
_PERMISSIONS = {
    "ListObjectsV2": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "DeleteObjects": "s3:DeleteObject",
}


def code_of(error: Any) -> str:
    """Error code of a ClientError, or the HTTP status where the answer had no body."""
    response = error.response
    return str(response.get("Error", {}).get("Code") or response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


def status_of(error: Any) -> int:
    """HTTP status of a ClientError, 0 where there is none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


class ObjectReplacedError(TransientError):
    """The object is another one than before: asking for the same again gives the same."""


def ask(bucket: str, call: Callable[[], T], *, attempts: int | None = None) -> T:
    """What `call` gives, asked again for `PATIENCE_S` from its first failure while that may pass.

    Parameters
    ----------
    attempts: at most; None for what the environment says.

    Raises
    ------
    TransientError, UsageError: as `translated`.
    """
    attempts = attempts or most_attempts()
    first_failure_s = 0.0
    for attempt in itertools.count(1):
        try:
            with translated(bucket):
                return call()
        except ObjectReplacedError:
            raise
        except TransientError:
            now_s = time.monotonic()
            first_failure_s = first_failure_s or now_s
            if attempt == attempts or now_s - first_failure_s > PATIENCE_S:
                raise
        # spread, so that threads which failed together do not come back together
        time.sleep(random.uniform(0.5, 1.0) * min(MOST_PAUSE_S, PAUSE_S * 2 ** min(attempt, 16)))
    raise AssertionError("counting has no end")


@contextlib.contextmanager
def translated(bucket: str) -> Iterator[None]:
    """Raises what S3 calls in its block raise as TransientError or UsageError.

    Raises
    ------
    TransientError: the server cannot be reached, throttles or fails; it may work next time.
    UsageError: keys, permissions, bucket, region or certificate are wrong.
    """
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        raise of_answer(bucket, error.operation_name, code_of(error), status_of(error)) from error
    except (BotoCoreError, HTTPClientError) as error:
        raise _of_connection(bucket, error) from error
    except (HTTPError, ConnectionError, TimeoutError) as error:
        raise TransientError(f"the connection to {endpoint()} broke ({type(error).__name__})") from error


def of_answer(bucket: str, operation: str, code: str, status: int) -> RTpipelineError:
    """The error for an answer of the server."""
    where = f"bucket {bucket} at {endpoint()}"
    if code == "NoSuchBucket":
        place = f"there is no bucket {bucket} at {endpoint()}"
        return UsageError(f"{place}: make it, or correct the s3:// URL or AWS_ENDPOINT_URL")
    if code in _BAD_KEYS or status == 401:
        return UsageError(
            f"{where} does not accept the keys ({code}): check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or the profile or role they come from"
        )
    if code == "RequestTimeTooSkewed":
        return UsageError(f"{endpoint()} refuses requests from this machine's clock: set the time (NTP)")
    if code in ("ExpiredToken", "TokenRefreshRequired"):
        return TransientError(f"the session token for {where} has expired: log in again, then repeat the command")
    if code in _WRONG_REGION:
        return UsageError(f"{where} is in another region ({code}): set AWS_DEFAULT_REGION to the bucket's region")
    if code in _DENIED or status == 403:
        needed = _PERMISSIONS.get(operation, operation)
        return UsageError(f"{where} denies {operation} ({code}): the account needs {needed} on the bucket and prefix")
    if code in _THROTTLED:
        return TransientError(f"{where} is throttling ({code}), after all attempts at {operation}: try again later")
    if status >= 500 or code in ("InternalError", "RequestTimeout", "500", "502", "504"):
        return TransientError(f"{where} failed ({code}), after all attempts at {operation}: try again later")
    if code in CONFLICT or code in PRECONDITION:
        return TransientError(f"{where}: the object changed during {operation} ({code}); try again")
    return UsageError(f"{where} refused {operation} with {code} (HTTP {status})")


def _of_connection(bucket: str, error: Exception) -> RTpipelineError:
    from botocore import exceptions

    kind = type(error).__name__
    where = endpoint()
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return UsageError(
            f"no keys for {where}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or an instance role, "
            "or RTPIPELINE_S3_ANONYMOUS=1 for public data"
        )
    if isinstance(error, exceptions.CredentialRetrievalError):
        return TransientError(f"the keys for {where} could not be fetched from where they come from ({kind})")
    if isinstance(error, exceptions.SSLError):
        if "CERTIFICATE_VERIFY" in str(error):
            return UsageError(
                f"the certificate of {where} is not trusted: set AWS_CA_BUNDLE to the file of its certificate authority"
            )
        return TransientError(f"no TLS connection to {where}: check http:// or https:// in AWS_ENDPOINT_URL")
    if isinstance(error, (exceptions.ParamValidationError, exceptions.InvalidRegionError, exceptions.NoRegionError)):
        return UsageError(f"bucket {bucket} at {where}: a name or region that cannot be ({kind})")
    if isinstance(error, exceptions.EndpointConnectionError):
        return TransientError(f"no S3 server answers at {where} ({_reason(error)}): check AWS_ENDPOINT_URL and network")
    if isinstance(error, (exceptions.ProxyConnectionError, exceptions.ConnectTimeoutError)):
        return TransientError(f"no S3 server answers at {where} ({kind}): check AWS_ENDPOINT_URL, proxy and network")
    if isinstance(error, (exceptions.HTTPClientError, exceptions.IncompleteReadError)):
        return TransientError(f"the connection to {where} broke ({kind}): try again")
    return UsageError(f"the S3 settings for {where} cannot be used ({kind})")


def _reason(error: BaseException) -> str:
    """Why no connection came about, from the chain of causes."""
    seen: BaseException | None = error
    # botocore keeps urllib3's error, which keeps the socket's
    while seen is not None:
        if isinstance(seen, socket.gaierror) or type(seen).__name__ == "NameResolutionError":
            return "its name is not known"
        if isinstance(seen, ConnectionRefusedError):
            return "connection refused"
        kept = getattr(seen, "kwargs", {}).get("error") if hasattr(seen, "kwargs") else None
        seen = kept or seen.__cause__ or seen.__context__
    return "no connection"
