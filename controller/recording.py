"""Notes what is healthy while it is, once a tick and only what is new. The leader alone writes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime

from controller.cluster.healthy import NAME, HealthyRevisions
from controller.cluster.paths import Key
from controller.healthy import (
    Entry,
    PodSeen,
    WorkloadSeen,
    beyond,
    contradicts,
    healthy_revision,
    name_of,
    noted,
    pod_seen,
    read,
    workload_seen,
)
from controller.logs import log
from controller.model import Resource, Workload
from controller.observe import World
from controller.rollouts import ROLLING_KINDS
from selfheal.errors import SelfhealError

_ODD_AFTER, _LOOKS = 2, 3  # ticks, and workloads that are looked at in one
_MOST_NEWS = 1000  # entries in one patch: the API server takes no more than 10,000 steps
_GONE_AFTER = 5  # ticks: a replica that has just begun may not have heard of all workloads yet


class Recorder:
    """Hears what watches tell, and keeps the notes. All methods may be called from any thread.

    Args:
        store: Where the notes are.
        world: Knows the targets, and is told what the notes say.
        namespace: The controller's own.
        look: Reads a workload.
    """

    def __init__(
        self,
        store: HealthyRevisions,
        world: World,
        namespace: str,
        look: Callable[[Key], Workload | None],
    ) -> None:
        self._store = store
        self._look = look
        self._world = world
        self._namespace = namespace
        self._lock = threading.Lock()
        self._pods: dict[Key, dict[str, PodSeen]] = {}
        self._workloads: dict[Key, WorkloadSeen] = {}
        self._missed: dict[str, int] = {}
        self._odd: dict[Key, int] = {}
        self._lost = ""

    def observe(self, key: Key, kind: str, resource: Resource, gone: bool) -> None:
        """A pod of a workload, or the workload itself, is as it is now; quick, without a call to anybody."""
        if key.kind not in ROLLING_KINDS:
            return
        with self._lock:
            if kind == "Pod":
                self._see_pod(key, resource, gone)
            elif gone:
                self._workloads.pop(key, None)
                self._pods.pop(key, None)
            else:
                self._workloads[key] = workload_seen({"kind": kind} | resource)

    def _see_pod(self, key: Key, pod: Resource, gone: bool) -> None:
        seen, uid = None if gone else pod_seen(key, pod), pod["metadata"]["uid"]
        if seen is not None:
            self._pods.setdefault(key, {})[uid] = seen
        elif key in self._pods:
            self._pods[key].pop(uid, None)
            if not self._pods[key]:
                del self._pods[key]

    def healthy(self, key: Key, now: datetime) -> tuple[WorkloadSeen, str] | None:
        """A workload and its revision, where that is healthy now."""
        with self._lock:
            seen = self._workloads.get(key)
            name = healthy_revision(seen, self._pods.get(key, {}).values(), now) if seen else ""
        return (seen, name) if seen and name else None

    def load(self) -> None:
        """Learn what was noted before, by whichever replica."""
        found = self._read()
        if found is not None:
            self._tell(read(found.get("data") or {}))

    def record(self, now: datetime) -> None:
        """Write down what is new, in one patch; without it nothing is lost but evidence."""
        found = self._read()
        if found is None:
            return
        self._correct()
        data: dict[str, str] = found.get("data") or {}
        book = read(data)
        changes: dict[str, str | None] = dict.fromkeys(self._gone(book))
        changes |= {key: entry.text for key, entry in self._news(book, now).items()}
        changes |= dict.fromkeys(beyond(_changed(data, changes)))
        if changes and self._write(found, changes):
            book = read(_changed(data, changes))
        self._tell(book)

    def _correct(self) -> None:
        """Look at a few of the workloads whose pods are other ones than they say, tick after tick."""
        with self._lock:
            odd = [key for key, seen in self._workloads.items() if contradicts(seen, self._pods.get(key, {}).values())]
        self._odd = {key: self._odd.get(key, 0) + 1 for key in self._world.targets().intersection(odd)}
        for key in [key for key, ticks in self._odd.items() if ticks >= _ODD_AFTER][:_LOOKS]:
            try:
                workload = self._look(key)
            except SelfhealError as error:
                log("pods not looked at", level=logging.DEBUG, workload=str(key), cause=str(error))
                continue
            with self._lock:
                found = ((pod["metadata"]["uid"], pod_seen(key, pod)) for pod in workload.pods) if workload else ()
                self._pods[key] = {uid: seen for uid, seen in found if seen is not None}

    def _news(self, book: Mapping[str, Entry], now: datetime) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for key in self._world.targets():
            well, name = self.healthy(key, now), name_of(key)
            entry = noted(book.get(name), *well, now) if well and name else None
            if entry is not None:
                found[name] = entry
            if len(found) >= _MOST_NEWS:
                break  # the next tick brings the others
        return found

    def _gone(self, book: Mapping[str, Entry]) -> list[str]:
        """Entries of workloads that nobody has heard of for some ticks."""
        living = self._world.living()
        missing = [key for key, entry in book.items() if entry.uid not in living]
        self._missed = {key: self._missed.get(key, 0) + 1 for key in missing}
        return [key for key, ticks in self._missed.items() if ticks >= _GONE_AFTER]

    def _read(self) -> Resource | None:
        try:
            found = self._store.read(self._namespace)
        except SelfhealError as error:
            self._say(str(error))
            return None
        self._say("" if found is not None else "it is not there: apply the manifests again")
        return found

    def _write(self, found: Resource, changes: Mapping[str, str | None]) -> bool:
        try:
            self._store.write(found, changes)
        except SelfhealError as error:
            self._say(str(error))
            return False
        return True

    def _say(self, cause: str) -> None:
        """One line when the notes are lost, and none at every tick."""
        if cause and not self._lost:
            text = "healthy revisions are not noted: rollback and scale rest on what Kubernetes keeps alone"
            log(text, level=logging.WARNING, config_map=f"{self._namespace}/{NAME}", cause=cause)
        self._lost = cause

    def _tell(self, book: Mapping[str, Entry]) -> None:
        self._world.know_healthy(book)


def _changed(data: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    return {key: text for key, text in {**data, **changes}.items() if text is not None}
