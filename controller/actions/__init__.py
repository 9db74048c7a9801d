"""Actions: one file each, one line here. They plan purely and know nothing of each other."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from controller.actions.adjust_resources import AdjustResources
from controller.actions.notify_only import NotifyOnly
from controller.actions.restart import Restart
from controller.actions.rollback import Rollback
from controller.actions.scale import Scale
from controller.model import ActionPlanner
from selfheal.policy import Action

ACTIONS: Mapping[Action, ActionPlanner] = MappingProxyType(
    {
        Action.RESTART: Restart(),
        Action.ROLLBACK: Rollback(),
        Action.SCALE: Scale(),
        Action.ADJUST_RESOURCES: AdjustResources(),
        Action.NOTIFY_ONLY: NotifyOnly(),
    }
)
