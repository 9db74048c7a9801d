"""helm and kubeconform against a cluster of the bench."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.build import binary
from bench.cluster import Cluster
from selfheal.errors import SelfhealError

Schema = dict[str, Any]
_KIND = "x-kubernetes-group-version-kind"
# What OpenAPI calls a string, and the API server takes as a number too.
_LOOSE = ("io.k8s.apimachinery.pkg.util.intstr.IntOrString", "io.k8s.apimachinery.pkg.api.resource.Quantity")


def helm(cluster: Cluster, namespace: str, *words: str) -> str:
    """Run helm as administrator.

    Returns:
        What it printed.

    Raises:
        SelfhealError: With what it said.
    """
    return output([str(binary("helm")), "--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace, *words])


def template(chart: Path, *words: str) -> str:
    """What a chart renders to as release selfheal, without any cluster.

    Raises:
        SelfhealError: With what helm said.
    """
    return output([str(binary("helm")), "template", "selfheal", str(chart), "--namespace", "selfheal-system", *words])


def conforms(rendered: str, schemas: Path) -> str:
    """``kubeconform -strict`` on rendered manifests; returns its summary.

    Raises:
        SelfhealError: With every object that does not conform, or is of a kind that the schemas lack.
    """
    where = f"{schemas}/{{{{.Group}}}}-{{{{.ResourceKind}}}}-{{{{.ResourceAPIVersion}}}}.json"
    return output([str(binary("kubeconform")), "-strict", "-summary", "-schema-location", where, "-"], rendered)


def output(command: Sequence[str], stdin: str | None = None, *, good: Sequence[int] = (0,), **env: str) -> str:
    """What a program prints.

    Args:
        command: Program and words.
        stdin: What it reads.
        good: Exit codes that are no failure.
        env: Variables on top of ours.

    Raises:
        SelfhealError: With what it said.
    """
    more = os.environ | env
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=more)
    if done.returncode not in good:
        raise SelfhealError(f"{Path(command[0]).name}: {(done.stderr + done.stdout).strip()[-3000:]}")
    return done.stdout


def write_schemas(cluster: Cluster, folder: Path) -> int:
    """JSON schemas of every kind that a cluster knows, its custom resources included, as kubeconform reads them.

    Args:
        cluster: Its API server's OpenAPI document is what is written.
        folder: One file a kind.

    Returns:
        How many.
    """
    definitions: dict[str, Schema] = json.loads(cluster.kubectl("get", "--raw", "/openapi/v2"))["definitions"]
    loose = {name: {"type": ["string", "integer", "number"]} for name in _LOOSE}
    strict = {name: _strict(one) for name, one in definitions.items()} | loose
    count = 0
    for name, one in definitions.items():
        for kind in one.get(_KIND, ()):
            needed = {f: strict[f] for f in _closure(name, strict)}
            group = kind["group"] or kind["version"]  # kubeconform takes what stands before the slash
            file = f"{group}-{kind['kind'].lower()}-{kind['version']}.json"
            (folder / file).write_text(json.dumps({"$ref": f"#/definitions/{name}", "definitions": needed}))
            count += 1
    return count


def _strict(node: Any) -> Any:
    """A schema in which no field may stand that is not named, where any is."""
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    found = {key: value for key, value in node.items() if key not in ("default", "format")}
    for key in ("items", "additionalProperties"):
        if key in found:
            found[key] = _strict(found[key])
    if "properties" in found:
        found["properties"] = {name: _strict(one) for name, one in found["properties"].items()}
        if "additionalProperties" not in found and not node.get("x-kubernetes-preserve-unknown-fields"):
            found["additionalProperties"] = False
    return found


def _closure(name: str, definitions: dict[str, Schema]) -> set[str]:
    found, todo = set[str](), [name]
    while todo:
        if (one := todo.pop()) not in found:
            found.add(one)
            todo += _references(definitions[one])
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].removeprefix("#/definitions/")
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
