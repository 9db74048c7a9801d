"""The last step: does what is in service answer?"""

from kfp import dsl

from components.base import component


@component
def smoke_test(
    tracking_uri: str,
    endpoint_url: str,
    in_service: str,
    held_back: dsl.Input[dsl.Dataset],
) -> str:
    """Ask the endpoint (or the registry's model, without one) about a real window, and fail when it cannot tell.

    Args:
        tracking_uri: Of MLflow.
        endpoint_url: Base URL of the endpoint; the model is loaded from the registry when empty.
        in_service: Version that must answer.
        held_back: Where the window comes from.

    Returns:
        What was answered, in a sentence.
    """
    from pathlib import Path

    from selfheal.training import smoke

    return smoke(tracking_uri, endpoint_url, in_service, Path(held_back.path))
