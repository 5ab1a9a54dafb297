"""One container template for each stage, everything about it from the stage table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rtpipeline import __version__
from rtpipeline.errors import ConfigError
from rtpipeline.stages import Resources, Stage
from workflows import expressions as ex
from workflows import names
from workflows.artifacts import RUN, WORK
from workflows.strict import hera, models

SECRETS = "/etc/rtpipeline"
WEIGHTS = "/weights"
BACKOFF_CAP = "5m"

# Argo's own containers carry the artifacts; without limits of their own a namespace with a quota refuses the pod
EXECUTOR_RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}

RESTRICTED: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": names.UID,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the pod security level `restricted` asks of a container, and a root file system that nobody writes to."""

VERDICT = Resources(cpu=0.1, threads=1, memory_mib=(256,), timeout_s=300)
"""Of the pod that only turns a count into an exit code."""

DISCOVER = Resources(cpu=0.5, threads=1, memory_mib=(1024,), timeout_s=1800)
"""Of the pod that lists the inbox and submits."""


@dataclass(frozen=True)
class Options:
    """What a rendering can be told; the chart sets the rest on the rendered objects."""

    version: str = __version__
    cpu_image: str = f"rtpipeline-cpu:{__version__}"
    gpu_image: str = f"rtpipeline-gpu:{__version__}"
    weights: str = names.WEIGHTS_CLAIM
    """name of the set of weights, in the record of results"""
    patch_executor: bool = True
    """give Argo's own containers (init, wait) a restricted security context and resources: needed where the
    controller's configuration does not, harmless where it does, wrong for pods without them (Argo 4.1, init-less)"""

    def image(self, stage_image: str) -> str:
        """Image of a stage's image class."""
        return {"cpu": self.cpu_image, "gpu": self.gpu_image}[stage_image]


def stage_container(
    stage: Stage,
    options: Options,
    *,
    arguments: list[str],
    inputs: list[hera.Parameter | hera.S3Artifact],
    outputs: list[hera.Parameter | hera.S3Artifact],
    weights: bool,
) -> hera.Container:
    """The container template of a stage.

    Parameters
    ----------
    arguments: of `rtpipeline pod STAGE`, besides those that every pod gets.
    weights: the folder of the networks' weights is mounted, read-only: `totalsegmentator/` in it is where that looks,
        custom models are where the configuration says (`/weights/custom`).

    Raises
    ------
    ConfigError: the table's backoff cannot be said in Argo's terms.
    """
    secret_file = f"{SECRETS}/pseudonyms/{names.PSEUDONYMS_KEY}"
    store = ["--store", ex.parameter("store")] if stage.opens_store else []
    secret = ["--secret-file", secret_file] if stage.reader else []
    shared = [
        *("--cohort", ex.parameter("cohort"), "--run-id", RUN),
        *("--configuration", ex.parameter("configuration"), "--work", WORK),
    ]
    return _container(
        names.argo_name(stage.name),
        options,
        image=stage.image,
        labels={names.LABEL_STAGE: stage.name},
        args=["pod", stage.name, *arguments, *shared, *store, *secret],
        inputs=inputs,
        outputs=outputs,
        env=[
            *_environment(),
            *([hera.Env(name="TOTALSEG_WEIGHTS_PATH", value=f"{WEIGHTS}/totalsegmentator")] if weights else []),
            *(_bucket_environment(names.S3_READ_SECRET) if stage.opens_store else []),
        ],
        volumes=[
            *_scratch(stage.resources),
            *([_pseudonyms()] if stage.reader else []),
            *([_weights()] if weights else []),
        ],
        resources=_resources(stage.resources),
        tolerations=_gpu_tolerations() if stage.resources.gpu else None,
        pod_spec_patch=pod_spec_patch(stage, options),
        retry_strategy=_retry(stage),
        synchronization=hold(stage.pool) if stage.pool else None,
        active_deadline_seconds=int(stage.resources.timeout_s),
        metrics=[_seconds(stage.name)],
    )


def verdict_container(options: Options) -> hera.Container:
    """The template that fails when courses failed: the leaf of its workflow, whose phase it therefore decides."""
    return _container(
        names.VERDICT,
        options,
        image="cpu",
        labels={},
        args=["pod", names.VERDICT, "--failed", ex.input_parameter("failed")],
        inputs=[hera.Parameter(name="failed")],
        outputs=[],
        env=_environment(),
        volumes=_scratch(VERDICT),
        resources=_resources(VERDICT),
        pod_spec_patch=_patch(options, None),
        retry_strategy=hera.RetryStrategy(limit=3, expression=ex.RETRY),
        active_deadline_seconds=int(VERDICT.timeout_s),
    )


def discover_container(options: Options, *arguments: str) -> hera.Container:
    """The template that submits what is new in the inbox: a client in a pod, with a client's account and secret."""
    return _container(
        names.DISCOVER_TEMPLATE,
        options,
        image="cpu",
        labels={},
        command="python",
        args=["-m", "workflows.discover", *arguments],
        inputs=[],
        outputs=[],
        env=[*_environment(), *_bucket_environment(names.S3_SECRET)],
        volumes=_scratch(DISCOVER),
        resources=_resources(DISCOVER),
        pod_spec_patch=_patch(options, None),
        active_deadline_seconds=int(DISCOVER.timeout_s),
    )


def _container(
    name: str, options: Options, *, image: str, labels: dict[str, str], command: str = "rtpipeline", **fields: Any
) -> hera.Container:
    """A container as every pod has it: restricted, with a fixed user, and a command so that no registry is asked."""
    return hera.Container(
        name=name,
        image=options.image(image),
        image_pull_policy="IfNotPresent",
        command=[command],
        labels={**labels, names.LABEL_IMAGE: image},
        annotations={names.ANNOTATION_VERSION: options.version},
        security_context=models.SecurityContext.model_validate(RESTRICTED),
        pod_security_context=models.PodSecurityContext(
            run_as_non_root=True,
            run_as_user=names.UID,
            run_as_group=names.UID,
            fs_group=names.UID,
            seccomp_profile=models.SeccompProfile(type="RuntimeDefault"),
        ),
        **fields,
    )


def _resources(need: Resources) -> models.ResourceRequirements:
    """Requests and limits; CPUs are limited too, because a stage counts its container's to choose its workers."""
    amounts = {
        "cpu": _number(need.cpu),
        "memory": f"{need.memory_mib[0]}Mi",
        "ephemeral-storage": f"{need.disk_mib}Mi",
        **({names.GPU_RESOURCE: str(need.gpu)} if need.gpu else {}),
    }
    return models.ResourceRequirements.model_validate({"requests": amounts, "limits": amounts})


def _number(value: float) -> str:
    return f"{value:g}"


def pod_spec_patch(stage: Stage, options: Options) -> str:
    """The memory ladder, as JSON in which only the quantity is an expression; with the executor's part if wanted."""
    return _patch(options, ex.ladder_memory(stage)) or ""


def _patch(options: Options, memory: str | None) -> str | None:
    containers: list[dict[str, Any]] = []
    if memory:
        resources = {"requests": {"memory": memory}, "limits": {"memory": memory}}
        containers.append({"name": "main", "resources": resources})
    patch: dict[str, Any] = {"containers": containers}
    if options.patch_executor:
        executor = {"resources": EXECUTOR_RESOURCES, "securityContext": RESTRICTED}
        containers.append({"name": "wait", **executor})
        patch["initContainers"] = [{"name": "init", **executor}]
    return json.dumps(patch, separators=(",", ":")) if containers else None


def _retry(stage: Stage) -> hera.RetryStrategy:
    retry = stage.retry
    if retry.factor != int(retry.factor):
        raise ConfigError(f"{stage.name}: Argo takes whole factors of a backoff only, found {retry.factor}.")
    return hera.RetryStrategy(
        limit=retry.limit,
        expression=ex.RETRY,
        backoff=models.Backoff(
            duration=f"{_number(retry.backoff_s)}s",
            factor=models.IntOrString(root=int(retry.factor)),
            cap=BACKOFF_CAP,
        ),
    )


def hold(pool: str) -> models.Synchronization:
    """One of the places of a named limit, counted over all workflows of the namespace."""
    selector = models.ConfigMapKeySelector(name=names.SEMAPHORES, key=pool)
    return models.Synchronization(semaphores=[models.SemaphoreRef(config_map_key_ref=selector)])


def _gpu_tolerations() -> list[models.Toleration]:
    return [models.Toleration(key=names.GPU_RESOURCE, operator="Exists", effect="NoSchedule")]


def _scratch(need: Resources) -> list[hera.EmptyDirVolume]:
    """The only places that can be written to. Volumes have fixed names: Hera invents random ones otherwise."""
    disk, memory = (models.Quantity(root=f"{mib}Mi") for mib in (need.disk_mib, need.shm_mib))
    return [
        hera.EmptyDirVolume(name="work", mount_path=WORK, size_limit=disk),
        hera.EmptyDirVolume(name="tmp", mount_path="/tmp", size_limit=disk),
        hera.EmptyDirVolume(name="dshm", mount_path="/dev/shm", medium="Memory", size_limit=memory),
    ]


def _pseudonyms() -> hera.SecretVolume:
    key = names.PSEUDONYMS_KEY
    return hera.SecretVolume(
        name="pseudonyms",
        mount_path=f"{SECRETS}/pseudonyms",
        secret_name=names.PSEUDONYMS_SECRET,
        items=[models.KeyToPath(key=key, path=key)],
        default_mode=0o440,
        read_only=True,
    )


def _weights() -> hera.ExistingVolume:
    return hera.ExistingVolume(name="weights", mount_path=WEIGHTS, claim_name=names.WEIGHTS_CLAIM, read_only=True)


def _environment() -> list[hera.Env]:
    """Variables of every pod: whatever writes to a home or a cache finds one that can be written to."""
    return [hera.Env(name="HOME", value="/tmp"), hera.Env(name="XDG_CACHE_HOME", value="/tmp/.cache")]


def _bucket_environment(secret_name: str) -> list[hera.ConfigMapEnv | hera.SecretEnv]:
    """How to reach the bucket. All optional: what is missing the program itself says, in plain words."""
    settings = {
        "AWS_ENDPOINT_URL": "endpoint",
        "AWS_DEFAULT_REGION": "region",
        "RTPIPELINE_S3_ADDRESSING": "addressing",
    }
    secret = {"AWS_ACCESS_KEY_ID": "accessKey", "AWS_SECRET_ACCESS_KEY": "secretKey"}
    return [
        *(
            hera.ConfigMapEnv(name=name, config_map_name=names.S3_SETTINGS, config_map_key=key, optional=True)
            for name, key in settings.items()
        ),
        *(
            hera.SecretEnv(name=name, secret_name=secret_name, secret_key=key, optional=True)
            for name, key in secret.items()
        ),
    ]


def _seconds(stage: str) -> hera.Histogram:
    """Metric of the controller: how long a stage takes and how it ends, without anything of the course."""
    return hera.Histogram(
        name="rtpipeline_stage_seconds",
        help="Wall time of a stage of a course",
        value="{{duration}}",
        buckets=[10, 60, 300, 900, 3600, 14400],
        labels=[hera.Label(key="stage", value=stage), hera.Label(key="status", value="{{status}}")],
    )
