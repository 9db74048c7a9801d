"""What differs between two pod templates, one line a field, for people. Pure.

The lines go into Events and chat rooms, so values of environment variables are never shown: they often are passwords.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from controller.model import Resource
from controller.patching import MISSING, line, look
from selfheal.policy import GROUP

Leaves = dict[tuple[str, ...], Any]
_LISTS = ("containers", "initContainers")


def template_diff(old: Resource, new: Resource) -> str:
    """The fields that change from one pod template to another.

    Args:
        old: As it is.
        new: As it shall be.

    Returns:
        Lines such as ``image of app: shop:2 -> shop:1``; containers are told apart by name, not by place.
    """
    lines = list(_containers(old.get("spec") or {}, new.get("spec") or {}))
    before, after = _leaves(_without_containers(old)), _leaves(_without_containers(new))
    lines += [line(f"template {'.'.join(path)}", was, now) for path, was, now in _changes(before, after)]
    return "\n".join(lines)


_KEYS = ("name", "mountPath", "devicePath", "containerPort", "ip", "topologyKey", "key")
"""What tells entries of a list apart, as server-side apply does; without one of them the list is one value."""
_RESTARTS = (f"{GROUP}/restarted-by", "kubectl.kubernetes.io/restartedAt")


def unset(old: Resource, new: Resource) -> list[str]:
    """Fields of a pod template, or entries of its lists, that another one lacks: ``spec.containers.app.env.LOG``.

    Annotations with which a restart is made are nobody's and do not count.
    """
    return [".".join(path) for path in _unset(old, new, ()) if path[-1] not in _RESTARTS]


def _unset(old: Any, new: Any, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    before, after = _entries(old), _entries(new)
    if before is None or after is None:
        return
    for key, value in before.items():
        if key in after:
            yield from _unset(value, after[key], (*above, key))
        elif value is not None:
            yield (*above, key)


def _entries(value: Any) -> Mapping[str, Any] | None:
    """What a value holds, by name; None where it is one value."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        return None
    if not value:
        return {}
    key = next((one for one in _KEYS if all(one in entry for entry in value)), None)
    return None if key is None else {str(entry[key]): entry for entry in value}


def _containers(old: Resource, new: Resource) -> Iterator[str]:
    for kind in _LISTS:
        before = {one["name"]: one for one in old.get(kind) or ()}
        after = {one["name"]: one for one in new.get(kind) or ()}
        for name in before | after:
            if name in before and name in after:
                yield from _container(name, before[name], after[name])
            else:
                images = (look(found, (name, "image")) for found in (before, after))
                yield line(f"{kind[:-1]} {name}", *images)


def _container(name: str, old: Resource, new: Resource) -> Iterator[str]:
    for path, was, now in _changes(_leaves(old), _leaves(new)):
        if path[0] == "env":
            continue
        yield line(f"{_field(path)} of {name}", was, now)
    before, after = _variables(old), _variables(new)
    for variable in before | after:
        if before.get(variable) != after.get(variable):
            how = "changed" if variable in before and variable in after else "added" if variable in after else "removed"
            yield f"env {variable} of {name}: {how}"


def _field(path: tuple[str, ...]) -> str:
    """``memory limit`` for resources.limits.memory; dotted names for the rest."""
    if path[0] == "resources" and len(path) == 3:
        return f"{path[2]} {path[1].removesuffix('s')}"
    return ".".join(path)


def _variables(container: Resource) -> dict[str, Any]:
    return {one["name"]: one for one in container.get("env") or ()}


def _changes(old: Leaves, new: Leaves) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    for path in old | new:
        was, now = old.get(path, MISSING), new.get(path, MISSING)
        if was != now:
            yield path, was, now


def _without_containers(template: Resource) -> Resource:
    spec = {key: value for key, value in (template.get("spec") or {}).items() if key not in _LISTS}
    return template | {"spec": spec}


def _leaves(value: Mapping[str, Any], above: tuple[str, ...] = ()) -> Leaves:
    """All values that are no maps, by path; lists count as one value."""
    found: Leaves = {}
    for key, inner in value.items():
        path = (*above, key)
        found |= _leaves(inner, path) if isinstance(inner, Mapping) else {path: inner}
    return found
