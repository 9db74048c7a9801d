"""Runs a pipeline on this machine, by kfp's own local runner: one process a task, no container, nothing installed."""

import builtins
import contextlib
import io
import logging
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from kfp import dsl, local
from kfp.dsl.base_component import BaseComponent

import selfheal
import selfheal.errors

__all__ = ["Failed", "run"]

_TASK = re.compile(r"Executing task \S*?'([\w-]+)'")
_ENDED = re.compile(r"Task \S*?'([\w-]+)'\S* finished with status")
_OURS = re.compile(r"selfheal: (.*)")
_ERROR = re.compile(r"^\s*(?:[a-z_]\w*\.)*([A-Z]\w+): (.+)")  # the last line of a traceback


class _Gathered(NamedTuple):
    """The outcome of each run of the loop in :func:`_once`: of one."""

    version: list[str]
    verdict: list[dict[str, Any]]
    in_service: list[str]
    answer: list[str]


class Failed(Exception):
    """A task failed.

    Args:
        task: Which one.
        kind: Class of the error, as the task's log names it; empty when the task died without one.
        message: What it said.
        log: Everything that all tasks said.
    """

    def __init__(self, task: str, kind: str, message: str, log: Path) -> None:
        self.task, self.kind, self.log = task, kind, log
        super().__init__(f"{task} failed: {message or 'it ended without saying why'} (everything said: {log})")

    @property
    def exit_code(self) -> int:
        """1, or what the error's class asks for: 2 for wrong use, 3 for no data."""
        found = getattr(selfheal.errors, self.kind, None)
        return int(getattr(found, "exit_code", 1))


def run(
    pipeline: BaseComponent,
    arguments: Mapping[str, Any],
    folder: Path,
    show: Callable[[str], None],
    *,
    verbose: bool = False,
) -> dict[str, Any]:
    """Run a pipeline.

    Args:
        pipeline: One that ends with :class:`pipelines.tasks.Outcome`.
        arguments: Of the pipeline.
        folder: For artifacts and the log.
        show: Told each line of progress.
        verbose: Show every line that kfp and the tasks write.

    Returns:
        The pipeline's outputs.

    Raises:
        Failed: When a task failed; none after it was started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder), raise_on_error=True)
    log = folder / "run.log"
    with log.open("w") as stream, _environment(), warnings.catch_warnings():
        # kfp guesses from the image's name whether it holds Python; ours does, and is not used here anyway.
        warnings.filterwarnings("ignore", "You may be attemping to run", RuntimeWarning)
        watch = _Watch(stream, show, verbose, _display_names(pipeline))
        try:
            with contextlib.redirect_stdout(watch):
                return {name: found[0] for name, found in _once(pipeline, arguments)().outputs.items()}
        except RuntimeError:
            raise Failed(watch.task, *watch.error, log) from None


def _once(pipeline: BaseComponent, arguments: Mapping[str, Any]) -> BaseComponent:
    """The pipeline in a loop that runs once.

    kfp 2.16's local runner looks for loops at the top level alone: without one there, it would run the loop over the
    shards inside once, without an item.
    """

    def once() -> _Gathered:
        with dsl.ParallelFor(["this machine"]):
            run = pipeline(**arguments)
        gathered: Any = [dsl.Collected(run.outputs[name]) for name in _Gathered._fields]
        return _Gathered(*gathered)

    return dsl.pipeline(name="selfheal")(once)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Where the tasks find ``selfheal``; restored afterwards, with what kfp's threads take from each other."""
    root, say = logging.getLogger(), builtins.print
    handlers, level = root.handlers[:], root.level
    before = dict(os.environ)
    source = str(Path(selfheal.__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(part for part in (source, before.get("PYTHONPATH", "")) if part)
    os.environ["PYTHONUNBUFFERED"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as on the cluster, see pipelines.training
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        builtins.print, root.handlers[:] = say, handlers
        root.setLevel(level)


def _display_names(pipeline: BaseComponent) -> dict[str, str]:
    """What people call a task, by what kfp calls it here; loops and pipelines inside the pipeline are no tasks."""
    spec = pipeline.pipeline_spec
    dags = [spec.root.dag, *(component.dag for component in spec.components.values())]
    return {
        task.component_ref.name.removeprefix("comp-"): task.task_info.name
        for dag in dags
        for task in dag.tasks.values()
        if spec.components[task.component_ref.name].executor_label
    }


def _is_error(kind: str) -> bool:
    """Whether a word is the class of an error: an output of a shard that goes on beside a failed one is none."""
    return hasattr(selfheal.errors, kind) or kind.endswith(("Error", "Exception", "Interrupt"))


@dataclass
class _Watch(io.TextIOBase):
    """Takes kfp's output, keeps all of it, and shows what people want to see."""

    stream: io.TextIOWrapper
    show: Callable[[str], None]
    verbose: bool
    names: Mapping[str, str]
    task: str = ""
    error: tuple[str, str] = ("", "")
    _line: str = ""
    _begun: dict[str, list[float]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def write(self, text: str) -> int:
        """Take a piece of text, whole lines or not."""
        with self._lock:  # shards train two at a time
            self.stream.write(text)
            self.stream.flush()
            *lines, self._line = (self._line + text).split("\n")
            for line in lines:
                self._look(line)
        return len(text)

    def _look(self, line: str) -> None:
        if found := _TASK.search(line):
            self.task = self.names.get(found[1], found[1])
            self._begun.setdefault(found[1], []).append(time.monotonic())
            self.show(f"[{len(self._begun)}/{len(self.names)}] {self.task}")
        elif found := _ENDED.search(line):
            if begun := self._begun.get(found[1]):  # kfp's threads may write a line twice
                self.show(f"        {time.monotonic() - begun.pop(0):.1f} s")
        elif (found := _ERROR.match(line)) and _is_error(found[1]):
            self.error = (found[1], found[2])
        elif found := _OURS.search(line):
            self.show(f"        {found[1]}")
        if self.verbose:
            self.show(line)
