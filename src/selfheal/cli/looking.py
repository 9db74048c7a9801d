"""``selfheal status``: policies and what they did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from selfheal.cli.namespaces import Context, Kubeconfig, connect
from selfheal.cli.output import Json, age, emit, table

Entry = dict[str, Any]


def status(
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Only this namespace; all by default.")] = "",
    last: Annotated[int, typer.Option(min=0, help="How many ended remediations to show.")] = 10,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """Show policies and remediations.

    Policies with their conditions, open remediations, the last ones that ended, and what owners have lent.
    Ends with 3 when there is neither a policy nor a remediation.
    """
    cluster = connect(kubeconfig, context)
    policies = [_policy(one) for one in cluster.resources("selfhealingpolicies", namespace)]
    remediations = sorted(
        (_remediation(one) for one in cluster.resources("remediations", namespace)),
        key=lambda one: str(one["created"]),
        reverse=True,
    )
    running = [one for one in remediations if not one["outcome"]]
    ended = [one for one in remediations if one["outcome"]][:last]
    lent = [one for one in remediations if one["loan"] and not one["loan"].get("returnedTime")]
    suspended = cluster.config().suspended
    if as_json:
        found = {"suspended": suspended, "policies": policies, "open": running, "last": ended, "lent": lent}
        emit(found, "", as_json=True)
    else:
        _print(policies, running, ended, lent, suspended=suspended)
    if not policies and not remediations:
        raise typer.Exit(3)


def _policy(resource: Mapping[str, Any]) -> Entry:
    meta, spec, state = resource["metadata"], resource.get("spec", {}), resource.get("status", {})
    return {
        "namespace": meta.get("namespace", ""),
        "name": meta["name"],
        "anomalyType": spec.get("anomalyType", ""),
        "action": spec.get("action", ""),
        "mode": spec.get("mode", "Auto"),
        "enabled": spec.get("enabled", True),
        "targets": state.get("targets"),
        "conditions": _conditions(state),
        "lastOutcome": _conditions(state).get("Succeeded", {}).get("reason", ""),
        "created": meta.get("creationTimestamp", ""),
    }


def _remediation(resource: Mapping[str, Any]) -> Entry:
    meta, spec, state = resource["metadata"], resource.get("spec", {}), resource.get("status", {})
    target = spec.get("target", {})
    attempts = state.get("attempts") or []
    return {
        "namespace": meta.get("namespace", ""),
        "name": meta["name"],
        "target": f"{target.get('kind', '')}/{target.get('name', '')}",
        "policy": spec.get("policyRef", {}).get("name", ""),
        "anomalyType": spec.get("anomaly", {}).get("type", ""),
        "action": attempts[-1].get("action", "") if attempts else "",
        "attempts": len(attempts),
        "conditions": _conditions(state),
        "outcome": state.get("outcome"),
        "message": state.get("message", ""),
        "loan": state.get("loan"),
        "created": meta.get("creationTimestamp", ""),
    }


def _conditions(state: Mapping[str, Any]) -> dict[str, Entry]:
    return {
        condition["type"]: {key: condition.get(key, "") for key in ("status", "reason", "message")}
        for condition in state.get("conditions") or []
    }


def _print(
    policies: list[Entry], running: list[Entry], ended: list[Entry], lent: list[Entry], *, suspended: bool
) -> None:
    if suspended:
        typer.echo("Healing is suspended (HealingConfig cluster): nothing is started and open remediations wait.\n")
    columns = ["NAMESPACE", "NAME", "TYPE", "ACTION", "MODE", "READY", "ANOMALY", "LAST-OUTCOME", "AGE", "WHY"]
    _section("Policies", columns, [_policy_row(one) for one in policies], "no policies")
    columns = ["NAMESPACE", "NAME", "TARGET", "TYPE", "ACTION", "OUTCOME", "AGE", "MESSAGE"]
    _section("Open remediations", columns, [_remediation_row(one) for one in running], "no open remediations")
    _section("Last remediations", columns, [_remediation_row(one) for one in ended], "none has ended yet")
    if lent:
        columns = ["NAMESPACE", "NAME", "TARGET", "OWNER", "SINCE", "FIELDS"]
        _section("Lent by their owner", columns, [_loan_row(one) for one in lent], "")


def _section(title: str, columns: list[str], rows: Iterable[list[str]], empty: str) -> None:
    found = list(rows)
    if found:
        table(title, columns, found)
    else:
        typer.echo(f"{title}\n{empty}")
    typer.echo("")


def _policy_row(one: Entry) -> list[str]:
    ready, anomaly = (one["conditions"].get(kind, {}) for kind in ("Ready", "AnomalyDetected"))
    why = "" if ready.get("status") == "True" else ready.get("message", "not seen by the controller yet")
    return [
        *(one[key] for key in ("namespace", "name", "anomalyType", "action", "mode")),
        ready.get("status", "Unknown"),
        anomaly.get("status", "Unknown"),
        one["lastOutcome"] or "-",
        _age(one["created"]),
        why,
    ]


def _remediation_row(one: Entry) -> list[str]:
    return [
        *(one[key] for key in ("namespace", "name", "target", "anomalyType")),
        one["action"] or "-",
        one["outcome"] or "open",
        _age(one["created"]),
        one["message"],
    ]


def _loan_row(one: Entry) -> list[str]:
    loan = one["loan"]
    since = _age(loan.get("lentTime", ""))
    return [*(one[key] for key in ("namespace", "name", "target")), loan["owner"], since, "; ".join(loan["fields"])]


def _age(created: str) -> str:
    if not created:
        return "-"
    return age((datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds())
