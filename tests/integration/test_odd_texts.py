"""Texts that people write into manifests do not keep a patch from being written: shells need < > &, names umlauts."""

from __future__ import annotations

import pytest

from bench.cluster import ApiCluster
from controller.cluster.client import Api
from controller.cluster.paths import collection, item
from selfheal.errors import Refused

pytestmark = pytest.mark.api

TEXT = "test -f /a && cat < /a > /b; echo '\"\\ Grüße, 你好 \u2028 \u0001 \x7f \b\f\t\n </td><script>'"


def test_a_precondition_on_any_text_holds_when_it_is_the_text_that_is_there(
    api_cluster: ApiCluster, namespace: str
) -> None:
    api = Api.connect(api_cluster.kubeconfig)
    meta = {"name": "odd", "namespace": namespace}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"text": TEXT, "count": "1"}}
    api.request("POST", collection("v1", "ConfigMap", namespace), body=body)
    path = item("v1", "ConfigMap", namespace, "odd")
    more = {"op": "replace", "path": "/data/count", "value": "2"}
    changed = api.patch(path, [{"op": "test", "path": "/data/text", "value": TEXT}, more])
    assert changed["data"] == {"text": TEXT, "count": "2"}
    whole = {"op": "test", "path": "/data", "value": {"count": "2", "text": TEXT}}
    assert api.patch(path, [whole, {"op": "replace", "path": "/data/text", "value": TEXT + "é"}])["data"]["text"]
    with pytest.raises(Refused):
        api.patch(path, [{"op": "test", "path": "/data/text", "value": TEXT}, more])
