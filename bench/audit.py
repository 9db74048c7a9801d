"""Entries of an API server's audit log, read from outside: what the controller really wrote."""

from __future__ import annotations

from bench.client import Resource
from selfheal.policy import SERVICE_ACCOUNT, SYSTEM_NAMESPACE

USER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}"
_VERBS = ("create", "update", "patch", "delete", "deletecollection")


def is_written(entry: Resource) -> bool:
    """Whether the controller's account wrote something that way, no dry run, and the server took it."""
    return (
        (entry.get("user") or {}).get("username") == USER
        and entry.get("verb") in _VERBS
        and "dryRun=All" not in entry.get("requestURI", "")
        and entry.get("stage") == "ResponseComplete"
        and 200 <= (entry.get("responseStatus") or {}).get("code", 0) < 300
    )
