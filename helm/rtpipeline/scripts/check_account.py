"""Try what the pods' account may do and what it may not: `check_account.py NAMESPACE`. Nothing is left behind.

Without the right to create a WorkflowTaskResult, workflows hang Running for ever. Creating is a dry run, which the API
server authorises and validates like any other; a patch of what is not there is 404 when it is allowed, else 403.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NAME = "rtpipeline-helm-test"
TIMEOUT_S = 30
FORBIDDEN, NOT_FOUND = 403, 404


def main(namespace: str) -> int:
    """0 when the account can do what pods need and nothing more."""
    results = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflowtaskresults"
    result = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTaskResult",
        "metadata": {"name": NAME},
        "phase": "Succeeded",
    }
    merge = "application/merge-patch+json"
    faults = [
        *expect("create workflowtaskresults", ask("POST", f"{results}?dryRun=All", result), {200, 201}),
        *expect("patch workflowtaskresults", ask("PATCH", f"{results}/{NAME}", {}, merge), {NOT_FOUND}),
        *expect("list workflowtaskresults", ask("GET", results), {FORBIDDEN}),
        *expect("list secrets", ask("GET", f"/api/v1/namespaces/{namespace}/secrets"), {FORBIDDEN}),
        *expect("list pods", ask("GET", f"/api/v1/namespaces/{namespace}/pods"), {FORBIDDEN}),
        *expect("create pods", ask("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", {}), {FORBIDDEN}),
    ]
    return 1 if faults else 0


def expect(what: str, status: int, wanted: set[int]) -> list[str]:
    """One line of the log; the fault, if there is one."""
    is_right = status in wanted
    may = "may" if FORBIDDEN not in wanted else "may not"
    sys.stdout.write(f"{'ok   ' if is_right else 'WRONG'} the pods' account {may} {what} (answer {status})\n")
    return [] if is_right else [what]


def ask(method: str, path: str, body: object = None, content: str = "application/json") -> int:
    """The status of the API server's answer."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    address = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(
        f"https://{address}:{port}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}", "Content-Type": content},
    )
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=trusted) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
