"""Two controllers at a time, each behind its own proxy: when the one that leads is killed, another takes its place."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.controller import Controller
from tests.support.proxy import Proxy, proxied


class TooSlow(AssertionError):
    """Something did not happen in time."""


def wait_for(holds: Callable[[], bool], what: str, seconds: float = 90) -> None:
    """Wait for a server to get there.

    Raises:
        TooSlow: With what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TooSlow(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


@dataclass(frozen=True)
class Replica:
    """A controller and its only way to the API server."""

    controller: Controller
    proxy: Proxy

    def leads(self) -> bool:
        """Whether it has taken the Lease and not lost it since."""
        messages = [str(line.get("message")) for line in self.controller.lines()]
        turns = [text for text in messages if text == "leading" or text.startswith("no longer leading")]
        return bool(turns) and turns[-1] == "leading"


class Replicas:
    """One that leads and one that stands by.

    Args:
        account: Kubeconfig of the controller's ServiceAccount.
        folder: For logs and kubeconfigs.
        env: Settings on top of the tests' own.
    """

    def __init__(self, account: Path, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self._account, self._folder, self._env = account, folder, env
        self._numbers = itertools.count(1)
        self._stack = ExitStack()
        self.leader = self._start()
        wait_for(self.leader.leads, "the first replica to lead")
        self.standby = self._start()

    def _start(self) -> Replica:
        folder = self._folder / f"replica-{next(self._numbers)}"
        folder.mkdir()
        proxy, kubeconfig = self._stack.enter_context(proxied(self._account, folder))
        controller = Controller(kubeconfig, folder / "log", self._env)
        self._stack.callback(controller.kill)
        controller.start()
        return Replica(controller, proxy)

    def succeed(self) -> None:
        """After the leader's death: the other one leads now, and a new one stands by."""
        wait_for(self.standby.leads, "the other replica to lead")
        self.leader = self.standby
        self.standby = self._start()

    def settle(self) -> bool:
        """Find out who leads: on a machine that is short of breath a leader may renew too late, and nobody died.

        Returns:
            Whether it is another one than before.
        """
        wait_for(lambda: self.leader.leads() != self.standby.leads(), "one of two replicas to lead")
        if self.leader.leads():
            return False
        self.leader, self.standby = self.standby, self.leader
        return True

    def stop(self) -> None:
        """End both."""
        self._stack.close()


@contextmanager
def replicas(account: Path, folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Replicas]:
    """Two replicas for the length of a block."""
    found = Replicas(account, folder, env)
    try:
        yield found
    finally:
        found.stop()
