"""``selfheal approve``, ``deny``, ``undo``, ``suspend`` and ``resume``: what people decide about healing."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from selfheal.cli.namespaces import Context, DryRun, Kubeconfig, connect
from selfheal.cli.output import Json, emit, note
from selfheal.errors import NoData, SelfhealError, WrongUse
from selfheal.remediation import (
    AttemptResult,
    ConditionType,
    Remediation,
    RemediationStatus,
    undo_of,
    with_condition,
)
from selfheal.takingback import UNDONE_BY_PERSON, in_effect, taken_back

if TYPE_CHECKING:
    from selfheal.cli.cluster import Cluster

Name = Annotated[str, typer.Argument(metavar="REMEDIATION", help="Its name, or NAMESPACE/NAME.")]
Where = Annotated[str, typer.Option("--namespace", "-n", help="Its namespace; all are searched by default.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept on the record.")]


def approve(
    name: Name,
    namespace: Where = "",
    reason: Reason = "",
    dry_run: DryRun = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """Let a remediation that waits for it make the change that it shows.

    The approval is made in your own name, as the API server knows you, and is for the plan that is shown now.
    """
    cluster = connect(kubeconfig, context)
    found = _open(cluster, name, namespace)
    plan = _plan(found)
    if plan is None:
        raise NoData(
            f"remediation {found.name} shows no plan that could be approved: {found.status.reason or 'it is new'}"
        )
    who = cluster.decide(found.namespace, found.name, "Approve", reason, dry_run=dry_run)
    _tell(found, "approved", who, plan, dry_run=dry_run, as_json=as_json)


def deny(
    name: Name,
    namespace: Where = "",
    reason: Reason = "",
    dry_run: DryRun = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """Say no to a remediation that waits for an approval: it ends, and nothing is changed."""
    cluster = connect(kubeconfig, context)
    found = _open(cluster, name, namespace)
    who = cluster.decide(found.namespace, found.name, "Deny", reason, dry_run=dry_run)
    _tell(found, "denied", who, _plan(found) or "", dry_run=dry_run, as_json=as_json)


def undo(
    name: Name,
    namespace: Where = "",
    dry_run: DryRun = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """Take back what a remediation that has ended has changed, with your own rights.

    Nothing is overwritten that somebody has changed since. An attempt that was undone already needs no undo. The record
    says who took it back, where you may write it, and the controller does not make the change again.
    """
    cluster = connect(kubeconfig, context)
    found = _find(cluster, name, namespace)
    if found.is_open:
        raise WrongUse(f"remediation {found.name} is still at work: run `selfheal suspend` first, or let it end")
    number = in_effect(found.status)
    if number is None:
        raise NoData(f"remediation {found.name} has left nothing that could be taken back")
    restored = cluster.take_back(undo_of(found.status.attempts[number]), dry_run=dry_run)
    if not dry_run:
        _record(cluster, found, restored)
    result = {"remediation": found.name, "namespace": found.namespace, "restored": restored, "dryRun": dry_run}
    tail = "; dry run, nothing changed" if dry_run else ""
    emit(result, f"{found.namespace}/{found.name}: {', '.join(restored) or 'nothing is left'}{tail}", as_json=as_json)


def _record(cluster: Cluster, found: Remediation, restored: list[str]) -> None:
    """Say on the record who took what back. Without the right to, the controller notes what it sees of it."""
    text = f"{cluster.whoami()} took it back with `selfheal undo`: {', '.join(restored) or 'nothing was left'}"
    try:
        cluster.record(found.namespace, found.name, partial(_taken_back, message=text))
    except SelfhealError as error:
        note(f"selfheal: it is taken back, and the record does not say by whom: {error}")


def _taken_back(now: Remediation, message: str) -> RemediationStatus | None:
    """The status that says so; None where it stands there already in somebody's name."""
    number = in_effect(now.status)
    if number is not None:
        return taken_back(now.status, number, message, datetime.now(UTC))
    undone = now.status.condition(ConditionType.UNDONE)
    if undone is None or undone.reason != UNDONE_BY_PERSON:
        return None
    conditions = with_condition(
        now.status.conditions, ConditionType.UNDONE, "True", UNDONE_BY_PERSON, message, datetime.now(UTC)
    )
    return now.status.model_copy(update={"conditions": conditions})


def suspend(
    dry_run: DryRun = False, kubeconfig: Kubeconfig = None, context: Context = None, as_json: Json = False
) -> None:
    """Stop all healing in the cluster: nothing is opened, and open remediations take no step."""
    _switch(connect(kubeconfig, context), suspended=True, dry_run=dry_run, as_json=as_json)


def resume(
    dry_run: DryRun = False, kubeconfig: Kubeconfig = None, context: Context = None, as_json: Json = False
) -> None:
    """Let healing go on. What was suspended for longer than its verification would have taken does not resume."""
    _switch(connect(kubeconfig, context), suspended=False, dry_run=dry_run, as_json=as_json)


def _find(cluster: Cluster, name: str, namespace: str) -> Remediation:
    """The remediation of that name.

    Raises:
        WrongUse: When there is none of that name, or several.
    """
    place, _, short = name.rpartition("/")
    namespace = namespace or place
    found = [one for one in cluster.resources("remediations", namespace) if one["metadata"]["name"] == short]
    if not found:
        where = f"in namespace {namespace}" if namespace else "in any namespace"
        raise WrongUse(f"there is no remediation {short} {where}: `selfheal status` shows those that are open")
    if len(found) > 1:
        places = ", ".join(sorted(one["metadata"]["namespace"] for one in found))
        raise WrongUse(f"there are remediations {short} in {places}: say which with --namespace")
    return Remediation.from_resource(found[0])


def _open(cluster: Cluster, name: str, namespace: str) -> Remediation:
    """The same, while it is open.

    Raises:
        NoData: When it has ended.
    """
    found = _find(cluster, name, namespace)
    if not found.is_open:
        raise NoData(f"remediation {found.name} has ended already: {found.status.outcome}: {found.status.message}")
    return found


def _plan(remediation: Remediation) -> str | None:
    """The change that waits for an approval, for people; None when none does."""
    attempts = remediation.status.attempts
    if not attempts or attempts[-1].result is not AttemptResult.PLANNED or not attempts[-1].change.operations:
        return None
    return attempts[-1].change.diff


Decided = Literal["approved", "denied"]


def _tell(found: Remediation, word: Decided, who: str, plan: str, *, dry_run: bool, as_json: bool) -> None:
    result = {
        "remediation": found.name,
        "namespace": found.namespace,
        "decision": word,
        "approver": who,
        "plan": plan,
        "dryRun": dry_run,
    }
    shown = f": {'; '.join(plan.splitlines())}" if plan else ""
    tail = " (dry run, nothing changed)" if dry_run else ""
    emit(result, f"{found.namespace}/{found.name}: {word} by {who}{shown}{tail}", as_json=as_json)


def _switch(cluster: Cluster, *, suspended: bool, dry_run: bool, as_json: bool) -> None:
    changed = cluster.suspend(suspended, dry_run=dry_run)
    state = "suspended" if suspended else "running"
    text = f"healing is {state}" if changed else f"healing is {state} already"
    if changed and dry_run:
        text = f"healing would be {state}; dry run, nothing changed"
    emit({"suspended": suspended, "changed": changed, "dryRun": dry_run}, text, as_json=as_json)
