"""``selfheal enable`` and ``selfheal disable``: opting namespaces in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selfheal.cli.output import Json, emit, note

if TYPE_CHECKING:
    from selfheal.cli.cluster import Cluster

Namespace = Annotated[str, typer.Argument(help="Namespace of the application.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="Kubeconfig file; KUBECONFIG or ~/.kube/config by default.")]
Context = Annotated[str | None, typer.Option(help="Context in it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Let the API server check everything and change nothing.")]


def connect(kubeconfig: Path | None, context: str | None) -> Cluster:
    """The cluster that the flags name; imports kubernetes."""
    from selfheal.cli.cluster import Cluster

    return Cluster.connect(kubeconfig, context)


def enable(
    namespace: Namespace,
    dry_run: DryRun = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """Let the controller heal in a namespace.

    Adds the label, and the rights by a RoleBinding of selfheal-healer.
    Doing it twice changes nothing. Namespaces of the cluster itself (openshift-*, kube-*, default) are refused.
    """
    cluster = connect(kubeconfig, context)
    changed = cluster.enable(namespace, dry_run=dry_run)
    missing = cluster.missing()
    for name in missing:
        note(f"selfheal: {name} is not installed yet: nothing is healed before it is (kubectl apply -k manifests)")
    result = {"namespace": namespace, "enabled": True, "changed": changed, "dryRun": dry_run, "missing": missing}
    emit(result, _sentence(namespace, "enabled", changed, dry_run), as_json=as_json)


def disable(
    namespace: Namespace,
    dry_run: DryRun = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """Take a namespace out of healing.

    Removes the RoleBinding, then the label. Policies stay, and do nothing.
    """
    changed = connect(kubeconfig, context).disable(namespace, dry_run=dry_run)
    result = {"namespace": namespace, "enabled": False, "changed": changed, "dryRun": dry_run}
    emit(result, _sentence(namespace, "disabled", changed, dry_run), as_json=as_json)


def _sentence(namespace: str, state: str, changed: list[str], dry_run: bool) -> str:
    if not changed:
        return f"{namespace}: already {state}"
    told = ", ".join(changed)
    return (
        f"{namespace}: would be {state} ({told}); dry run, nothing changed"
        if dry_run
        else f"{namespace}: {state} ({told})"
    )
