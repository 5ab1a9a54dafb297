"""Where the cluster and the bucket are: from the environment alone. Commands that few clusters have are optional."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from urllib.parse import urlsplit

NEEDED = ("KUBECONFIG", "RT_S3_ENDPOINT", "RT_S3_BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
COMMANDS_S = 300


@dataclass(frozen=True)
class Settings:
    """A cluster and a bucket that tests may use.

    interrupt_s3, restart_controller: shell commands, '' where this cluster has none. weights: an empty folder on every
    node that pods may write to, which the chart fills with networks; '' for none. simulated_nodes: label
    (`name=value`) of nodes on which pods end by themselves without a process, '' where there are none. read_key,
    read_secret: of an S3 account that may only read.
    """

    endpoint: str
    bucket: str
    region: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    read_key: str = field(repr=False)
    read_secret: str = field(repr=False)
    image_registry: str
    image_tag: str
    weights: str
    interrupt_s3: str
    restart_controller: str
    simulated_nodes: str

    @classmethod
    def from_environment(cls) -> Settings:
        """The settings of this process. Call `missing` first."""
        get = os.environ.get
        key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        return cls(
            endpoint=os.environ["RT_S3_ENDPOINT"],
            bucket=os.environ["RT_S3_BUCKET"],
            region=get("AWS_DEFAULT_REGION", "us-east-1"),
            key=key,
            secret=secret,
            read_key=get("RT_S3_READ_KEY", key),
            read_secret=get("RT_S3_READ_SECRET", secret),
            image_registry=get("RT_E2E_IMAGE_REGISTRY", "localhost"),
            image_tag=get("RT_E2E_IMAGE_TAG", ""),
            weights=get("RT_E2E_WEIGHTS", ""),
            interrupt_s3=get("RT_E2E_INTERRUPT_S3", ""),
            restart_controller=get("RT_E2E_RESTART_CONTROLLER", ""),
            simulated_nodes=get("RT_E2E_SIMULATED_NODES", ""),
        )

    @property
    def host(self) -> str:
        """host:port of the S3 endpoint."""
        return urlsplit(self.endpoint).netloc

    @property
    def is_plain_http(self) -> bool:
        """Whether S3 is spoken without TLS."""
        return self.endpoint.startswith("http://")


def missing() -> str:
    """What is missing for tests on a cluster, as a sentence; '' when nothing is."""
    names = [name for name in NEEDED if not os.environ.get(name)]
    if names:
        return f"no cluster: set {', '.join(names)} (see `make e2e`)"
    if shutil.which("helm") is None:
        return "no cluster: the program helm is not on the PATH"
    return ""


def run_command(command: str) -> None:
    """Run one of the optional commands."""
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=COMMANDS_S)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
