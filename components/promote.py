"""The champion changes, or stays."""

from components.base import component


@component
def promote(tracking_uri: str, version: str, verdict: dict[str, object]) -> str:
    """Make the challenger the champion when it was accepted; say why when it was not.

    The decision is looked at in here and not by ``dsl.If``, which kfp's local runner cannot evaluate.

    Args:
        tracking_uri: Of MLflow.
        version: Of the challenger.
        verdict: What the comparison decided (``accepted``), and why (``reason``).

    Returns:
        The version in service afterwards; empty when there is none.
    """
    from selfheal.training import promote_when_accepted

    return promote_when_accepted(tracking_uri, version, verdict)
