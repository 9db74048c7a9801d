"""Who is champion: five models whose aliases move together, in a registry that moves one at a time.

MLflow knows no transaction and no "set it if it is still that". So one alias decides, the ensemble's, and the members'
follow the versions that the ensemble was registered with. Whoever promotes moves the members first and the ensemble
last: who reads the ensemble's champion finds its members. Then everyone brings the members into line with whatever
the ensemble's aliases name by now, until they name the same before and after. What a slower one wrote of its own
members, it corrects itself in that last round; so two that promote at once end with one champion and its members.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from selfheal.errors import Conflict
from selfheal.protocol import MODEL_NAME

__all__ = ["CHALLENGER", "CHAMPION", "PREVIOUS", "Aliases", "member_name", "promote", "settle"]

CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"
_ROUNDS = 20  # each takes another promotion in between: nobody promotes that often


def member_name(detector: str) -> str:
    """Name of a detector's registered model."""
    return f"selfheal-{detector.replace('_', '-')}"


class Aliases(Protocol):
    """What a registry can do."""

    def named(self, name: str, alias: str) -> str | None:
        """The version that an alias of a model points to; None when it points nowhere."""

    def point(self, name: str, alias: str, version: str) -> None:
        """Point an alias to a version."""

    def members(self, version: str) -> Mapping[str, str]:
        """Versions of the detectors of an ensemble, by name.

        Raises:
            NoData: When there is no such version.
        """


def promote(registry: Aliases, version: str) -> None:
    """Make a version of the ensemble the champion, with its members; the champion before becomes ``previous``.

    Args:
        registry: Where.
        version: Of the ensemble.

    Raises:
        NoData: When there is no such version.
        Conflict: When somebody else promoted another one meanwhile, which stays champion with its own members.
    """
    members = registry.members(version)
    before = registry.named(MODEL_NAME, CHAMPION)
    for name, number in members.items():
        registry.point(name, CHAMPION, number)
    if before is not None and before != version:
        registry.point(MODEL_NAME, PREVIOUS, before)
    registry.point(MODEL_NAME, CHAMPION, version)
    if (now := settle(registry)) != version:
        raise Conflict(
            f"{MODEL_NAME}@{CHAMPION} was set to version {version} and points to {now or 'nothing'}: somebody else "
            "moved it. See who is champion (selfheal models list), and promote again if it shall be this one"
        )


def settle(registry: Aliases) -> str | None:
    """Let the members' aliases follow the ensemble's, until nobody moves those meanwhile.

    Returns:
        The champion's version.

    Raises:
        Conflict: When it is moved again and again.
    """
    for _ in range(_ROUNDS):
        found = _of_ensemble(registry)
        for alias, version in found.items():
            for name, number in registry.members(version).items():
                if registry.named(name, alias) != number:
                    registry.point(name, alias, number)
        if _of_ensemble(registry) == found:
            return found.get(CHAMPION)
    raise Conflict(f"{MODEL_NAME}@{CHAMPION} is moved again and again: somebody else promotes without pause")


def _of_ensemble(registry: Aliases) -> dict[str, str]:
    named = {alias: registry.named(MODEL_NAME, alias) for alias in (PREVIOUS, CHAMPION)}
    return {alias: version for alias, version in named.items() if version is not None}
