"""Loads the model in the background and keeps it fresh."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from selfheal.errors import BadModel, SelfhealError, TemporaryError
from selfheal.protocol import Instance
from serving.metrics import LOAD_FAILURES

if TYPE_CHECKING:
    from selfheal.ensemble import Ensemble
    from serving.source import Source

_LOG = logging.getLogger("serving")
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0
_WARM_UP_SAMPLES = 240  # past every detector's own warm-up
# Beside our own errors: what a half-copied or foreign model can provoke while it is read; the old one goes on serving.
_DAMAGE = (OSError, ValueError, LookupError, TypeError, RuntimeError)


class Loader:
    """Gives an ensemble to ``serve`` as soon as there is one, and again when the source has another.

    A new model is loaded and has answered once before it is served; where it cannot, the old one stays.

    Args:
        source: Where it comes from.
        serve: Takes the ensemble over, atomically.
        every: Seconds between looks at the source; 0 for no look after the first model.
    """

    def __init__(self, source: Source, serve: Callable[[Ensemble], None], *, every: float) -> None:
        self._source = source
        self._serve = serve
        self._every = every
        self._stop = threading.Event()
        self._version = ""

    def start(self) -> None:
        """Run in a thread of its own, until the process ends."""
        threading.Thread(target=self._run, name="model-loader", daemon=True).start()

    def stop(self) -> None:
        """Load nothing any more."""
        self._stop.set()

    def refresh(self) -> bool:
        """Look once, and load when the source has another model.

        Returns:
            Whether another model is served now.

        Raises:
            NoData: When the source has none.
            BadModel: When it cannot be read or cannot answer.
        """
        version = self._source.version()
        if version == self._version:
            return False
        try:
            ensemble = self._source.load()
            _warm_up(ensemble)
        except _DAMAGE as error:
            raise BadModel(f"the model in {self._source} cannot be read ({type(error).__name__}: {error})") from error
        if self._source.version() != version:
            raise BadModel(f"the model in {self._source} changed while it was read: trying again")
        self._serve(ensemble)
        self._version = version
        info = ensemble.info
        _LOG.info(
            "serving %s version %s from %s: %d metrics, %d workloads with models of their own",
            info.name, info.version or "unknown", self._source, len(ensemble.names), len(ensemble.workloads),
        )  # fmt: skip
        return True

    def _run(self) -> None:
        wait = _FIRST_WAIT
        while not self._stop.is_set():
            try:
                self.refresh()
                if not self._every:
                    return
                wait = self._every
            except SelfhealError as error:
                wait = self._failed(error, wait)
            except _DAMAGE as error:  # the source itself, a share that went away for example
                wait = self._failed(error, wait)
            self._stop.wait(wait)

    def _failed(self, error: Exception, wait: float) -> float:
        """Say so, and how long to wait."""
        LOAD_FAILURES.inc()
        again = min(max(wait * 2, _FIRST_WAIT), self._every or _LONGEST_WAIT, _LONGEST_WAIT)
        state = "the model loaded before goes on serving" if self._version else "not ready"
        level = logging.WARNING if isinstance(error, TemporaryError) else logging.ERROR
        _LOG.log(level, "%s; %s, next try in %.0f s", error, state, again)
        return again


def _warm_up(ensemble: Ensemble) -> None:
    """Answer once: the first real request shall not pay for lazy starts, and a model that cannot is not served.

    Real numbers, for a workload that it knows and for one that it does not: gaps would make every detector abstain, and
    a model that lacks an array would fail at its first request.
    """
    waves = {name: _wave(place) for place, name in enumerate(ensemble.names)}
    workloads = [*ensemble.workloads[:1], "warm/up/up"]
    now, step = datetime.now(UTC), ensemble.step
    ensemble.predict([Instance(workload=one, end=now, step=step, window=waves) for one in workloads])


def _wave(place: int) -> list[float | None]:
    return [100.0 + 5.0 * math.sin(row / 12.0 + place) for row in range(_WARM_UP_SAMPLES)]
