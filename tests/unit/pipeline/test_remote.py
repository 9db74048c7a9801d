"""What a failing registry says is what somebody can do about it."""

from __future__ import annotations

import pytest
import requests
from botocore.exceptions import ClientError, NoCredentialsError

from selfheal.errors import Unavailable, WrongUse
from selfheal.remote import told, why

REFUSED = ClientError({"Error": {"Code": "SignatureDoesNotMatch", "Message": "no"}}, "GetObject")


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        (
            "Max retries exceeded with url: /a (Caused by ResponseError('too many 500 error responses'))",
            "answers with 500",
        ),
        ("API request to /a failed with error code 503 != 200", "its database or its artifact store"),
        ("500 Server Error: Internal Server Error for url: http://x", "its database or its artifact store"),
        ("Failed to establish a new connection: [Errno 111] Connection refused", "start it or check the address"),
        ("HTTPConnectionPool(host='x', port=1): Read timed out. (read timeout=120)", "it does not answer"),
        ('Could not connect to the endpoint URL: "http://s3/mlflow"', "it does not answer"),
        ("API request to /a failed with error code 401 != 200", "MLFLOW_TRACKING_USERNAME"),
        ("PERMISSION_DENIED: Failed to list artifacts in s3://b", "AWS_SECRET_ACCESS_KEY"),
        ("INVALID_PARAMETER_VALUE: Model name cannot be empty", "cannot do it: INVALID_PARAMETER_VALUE"),
    ],
)
def test_an_error_is_told_with_its_cause_and_its_own_words(said: str, understood: str) -> None:
    assert understood in why(said)
    assert said in why(said)


@pytest.mark.parametrize(
    ("error", "understood"),
    [
        (requests.HTTPError("500 Server Error: for url: http://x"), "its log says which"),
        (requests.ConnectionError("('Connection aborted.', RemoteDisconnected())"), "it does not answer"),
        (REFUSED, "credentials are refused"),
        (NoCredentialsError(), "AWS_ACCESS_KEY_ID"),
    ],
)
def test_an_outage_is_unavailable_whoever_noticed_it(error: Exception, understood: str) -> None:
    with pytest.raises(Unavailable, match=f"MLflow at http://here.*{understood}"), told("http://here"):
        raise error


def test_what_is_no_outage_is_not_called_one() -> None:
    with pytest.raises(ZeroDivisionError), told("http://here"):
        raise ZeroDivisionError
    with pytest.raises(ModuleNotFoundError), told("http://here"):
        raise ModuleNotFoundError(name="numpy")


def test_a_missing_boto3_is_named_with_both_ways_out() -> None:
    with pytest.raises(WrongUse, match=r"\[s3\].*--artifacts-destination"), told("http://here"):
        raise ModuleNotFoundError(name="boto3")
