"""What a person is told who meets an error first: what is wrong, where, and what to do about it.

One function an error. Texts name clusters, namespaces and objects of the installation, never anything of a patient.
"""

from __future__ import annotations

from rtpipeline.errors import ExitCode, RTpipelineError, UsageError

INSTALL = "helm upgrade --install rtpipeline helm/rtpipeline --namespace"


class UnreachableError(RTpipelineError):
    """The Kubernetes API does not answer: a mistake at the start of a command, something to wait out later."""

    exit_code = ExitCode.USAGE


class AlreadyExistsError(RTpipelineError):
    """An object of this name is there already."""


class MissingError(RTpipelineError):
    """The object that was asked for is not there."""

    exit_code = ExitCode.USAGE


def no_configuration(detail: str) -> UsageError:
    """Neither a kubeconfig nor a service account."""
    return UsageError(
        f"no Kubernetes cluster is configured ({detail}). Set KUBECONFIG to the file you were given, or log in "
        "with your cluster's own tool; `kubectl config current-context` shows what is in use."
    )


def unreachable(host: str, detail: str) -> UnreachableError:
    """Connection refused, timed out, or no such host."""
    return UnreachableError(
        f"the Kubernetes API at {host} does not answer ({detail}). Is the cluster up, and do you need its VPN? "
        "`kubectl cluster-info` asks the same address."
    )


def untrusted(host: str, detail: str) -> UsageError:
    """The certificate of the API server does not verify."""
    return UsageError(
        f"the certificate of the Kubernetes API at {host} is not trusted ({detail}). The kubeconfig names another "
        "certificate authority than the cluster's: fetch it anew."
    )


def not_authenticated(host: str) -> UsageError:
    """401."""
    return UsageError(
        f"the Kubernetes API at {host} does not accept these credentials (401). They have run out or belong to another "
        "cluster: log in again."
    )


def forbidden(verb: str, resource: str, namespace: str, who: str) -> UsageError:
    """403 by RBAC.

    Parameters
    ----------
    who: the user as the API server knows him; '' when it does not say.
    """
    account = who.removeprefix("system:serviceaccount:")
    subject = f"--user={who or 'USER'}" if account == who else f"--serviceaccount={account}"
    return UsageError(
        f"{who + ' is' if who else 'you are'} not allowed to {verb} {resource} in namespace {namespace} (RBAC). Ask "
        f"its administrator for the role of the chart: kubectl -n {namespace} create rolebinding NAME "
        f"--role=rtpipeline-submitter {subject}. "
        f"`kubectl auth can-i {verb} {resource} -n {namespace}` shows when it is done."
    )


def refused(verb: str, resource: str, namespace: str, detail: str) -> UsageError:
    """The API server refuses for another reason: a quota, an admission policy, or the object's form."""
    return UsageError(f"the cluster refuses to {verb} {resource} in namespace {namespace}: {detail}")


def too_large(resource: str, namespace: str) -> UsageError:
    """Above what etcd takes."""
    return UsageError(
        f"the cluster refuses {resource} in namespace {namespace}: it is larger than etcd takes (about 1.5 MB). "
        "Fewer courses at once (--limit) make it smaller."
    )


def no_argo(host: str) -> UsageError:
    """The API group of Argo does not exist."""
    return UsageError(
        f"Argo Workflows is not installed in the cluster at {host}: it does not know argoproj.io/v1alpha1 workflows. "
        "Ask its administrator to install Argo Workflows 4.0.10 or newer "
        "(https://argo-workflows.readthedocs.io/en/latest/installation/)."
    )


def no_namespace(namespace: str) -> UsageError:
    """The namespace does not exist."""
    return UsageError(
        f"the cluster has no namespace {namespace}. Give --namespace, or make it: kubectl create namespace {namespace}"
    )


def argo_too_old(version: str) -> UsageError:
    """Before 4.0 the plural semaphores and the memory ladder are not understood."""
    return UsageError(
        f"Argo Workflows {version} is too old; RTpipeline needs 4.0 or newer, best 4.0.10 or 4.1.2. "
        "Its administrator has to upgrade it."
    )


def argo_with_faults(version: str) -> str:
    """A warning: semaphores may lose or leak slots."""
    return (
        f"Argo Workflows {version} has faults in its semaphores (slots lost or leaked when the controller restarts), "
        "fixed in 4.0.10 and 4.1.2. When segmentation waits although GPUs are free, restart the controller."
    )


def template_missing(name: str, namespace: str) -> UsageError:
    """The chart is not installed here."""
    return UsageError(
        f"namespace {namespace} has no WorkflowTemplate {name}. Install the chart there: {INSTALL} {namespace}"
    )


def version_differs(name: str, namespace: str, installed: str, client: str) -> UsageError:
    """Templates of another version than the client that fills them in."""
    return UsageError(
        f"WorkflowTemplate {name} in namespace {namespace} is of RTpipeline {installed or 'of unknown version'}, this "
        f"command of {client}. Use the same on both sides: {INSTALL} {namespace}, or pip install "
        f"rtpipeline=={installed or 'VERSION'}"
    )


def object_missing(kind: str, name: str, namespace: str, used_by: str) -> UsageError:
    """A secret, ConfigMap, service account or claim that pods would wait for without end."""
    what = {
        "secret": "Make it; `kubectl -n {ns} create secret generic {name} --help` shows how, and docs/cluster.md which "
        "keys it needs.",
        "configmap": f"It comes with the chart: {INSTALL} {{ns}}",
        "serviceaccount": f"It comes with the chart: {INSTALL} {{ns}}",
        "persistentvolumeclaim": f"It comes with the chart (values weights.*): {INSTALL} {{ns}}",
    }[kind]
    advice = what.format(ns=namespace, name=name)
    return UsageError(f"namespace {namespace} has no {kind} {name}, which {used_by} needs. {advice}")


def no_store() -> UsageError:
    """Nothing says where the store is."""
    return UsageError(
        "no store is known: give --store s3://bucket/prefix, set RTPIPELINE_STORE, or install the chart with its "
        "values s3.bucket and s3.prefix, which the templates then carry."
    )


def bucket_unreachable(url: str, detail: str) -> UsageError:
    """The store's bucket does not answer, does not exist, or denies access."""
    return UsageError(
        f"the bucket of {url} cannot be used: {detail.rstrip('.')}. The address is AWS_ENDPOINT_URL, the keys are "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the instance's own."
    )


def busy(cohort: str, workflow: str, run_id: str, namespace: str) -> UsageError:
    """Another submission works on the cohort."""
    return UsageError(
        f"cohort {cohort} is being worked on by workflow {workflow} (run {run_id}), which was asked for something "
        f"else. Wait for it: python -m workflows.status {run_id} --namespace {namespace}; or end it: "
        f"kubectl -n {namespace} delete workflows -l rtpipeline/run={run_id}"
    )


def unknown_run(run_id: str, where: str) -> UsageError:
    """No such run."""
    return UsageError(f"there is no run {run_id} in {where}. `--cohort NAME` with run `latest` takes the newest one.")
