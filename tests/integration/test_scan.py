"""What ``make scan`` finds in chart and manifests has an answer in docs/security.md, and nothing else has."""

from __future__ import annotations

import pytest

from bench.scan import SECURITY, compare, findings

pytestmark = pytest.mark.integration


@pytest.mark.slow  # checkov and what it needs are installed first
def test_every_finding_of_the_scanner_is_answered_and_no_other() -> None:
    found = findings()
    assert found, "the scanner always finds that our images have no digest: it looked at nothing"
    assert compare(found, SECURITY.read_text()) == ([], [])


def test_a_finding_without_an_answer_and_an_answer_without_a_finding_are_told() -> None:
    assert compare(["CKV_K8S_1", "CKV2_K8S_5"], "| CKV_K8S_1 | yes |\n| CKV_K8S_9 | no |") == (
        ["CKV2_K8S_5"],
        ["CKV_K8S_9"],
    )
