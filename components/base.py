"""What all components share: the trainer's image and how a function becomes a component.

This is the one home of image names. An operator's build sets ``RELATED_IMAGE_SELFHEAL_TRAINER`` to an image by digest;
``make images`` builds the one that is named otherwise.
"""

import logging
import os
from collections.abc import Callable
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

TRAINER = os.environ.get("RELATED_IMAGE_SELFHEAL_TRAINER", "localhost/selfheal-trainer:0.1.0")

logging.getLogger("kfp").setLevel(logging.WARNING)


def component(function: Callable[..., Any]) -> BaseComponent:
    """Make a lightweight component that runs in the trainer's image and installs nothing.

    The function's source is all that travels: it imports what it needs inside its body. Its annotations must be real
    types, so a component's file has no ``from __future__ import annotations``.
    """
    return dsl.component(base_image=TRAINER, install_kfp_package=False)(function)
