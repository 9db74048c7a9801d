"""JSON as Go writes it, byte for byte.

The API server's JSON patch compares the strings of a ``test`` as they are encoded, not as they are meant, with an
object that Go has encoded. Go escapes ``<``, ``>`` and ``&`` and leaves other characters as they are; Python does the
opposite. Without this a ``test`` fails on every command line with ``&&`` or ``>`` in it, and on all that is not ASCII.
"""

from __future__ import annotations

import json
from typing import Any

_ESCAPED = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}
"""In JSON these stand in strings only, so that they can be replaced in the whole text."""


def as_go(value: object) -> bytes:
    """A value as Go's encoding/json writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPED).encode()


class GoPool:
    """A urllib3 pool of the official client, which would encode bodies by itself.

    Args:
        pool: The pool that sends.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def request(self, method: str, url: str, *, body: str | None = None, **more: Any) -> Any:
        """Send a request; its body is JSON."""
        return self._pool.request(method, url, body=None if body is None else as_go(json.loads(body)), **more)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the pool's."""
        return getattr(self._pool, name)
