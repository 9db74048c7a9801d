"""Tier ``current``: a cluster that somebody else runs, taken only where its name says that it may be broken."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from selfheal.errors import WrongUse

_TRIAL = re.compile(r"selfheal-.+|kind-.+|minikube")


def kubeconfig_file() -> Path:
    """The file that kubectl would read: the first of KUBECONFIG, or the one in the home folder."""
    listed = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(listed) if listed else Path.home() / ".kube" / "config"


def context() -> tuple[str, str]:
    """The current context and the server it points at.

    Raises:
        WrongUse: Without a readable kubeconfig, or when the context is not one of a trial cluster.
    """
    file = kubeconfig_file()
    try:
        document: dict[str, Any] = yaml.safe_load(file.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise WrongUse(f"cannot read the kubeconfig {file} ({error}): set KUBECONFIG") from None
    name = str(document.get("current-context") or "")
    if not _TRIAL.fullmatch(name):
        raise WrongUse(
            f"the current context of {file} is {name!r}: tier current breaks workloads on purpose and takes only "
            "contexts named selfheal-*, kind-* or minikube"
        )
    clusters = {one["name"]: one["cluster"] for one in document.get("clusters", [])}
    contexts = {one["name"]: one["context"] for one in document.get("contexts", [])}
    return name, str(clusters.get(contexts.get(name, {}).get("cluster"), {}).get("server", "unknown"))


def describe() -> str:
    """One line about the current cluster; refuses where :func:`context` does."""
    name, server = context()
    return f"context {name} at {server}, from {kubeconfig_file()}"
