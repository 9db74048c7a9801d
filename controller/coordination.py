"""What holds an action back: refusals, each with a reason and a sentence. Pure."""

from __future__ import annotations

from controller.model import Workload
from selfheal.policy import Action, Mode, Policy


def effective_mode(policy: Policy, workload: Workload, action: Action | None = None) -> tuple[Mode, str]:
    """The policy's mode, or Observe where somebody else owns what the action would change; the text says who."""
    raise NotImplementedError
