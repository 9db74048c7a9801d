"""Requests that a broken, careless or hostile client might send: valid ones, mutated by structure and by byte.

Every request is drawn from the seed and its own number alone, so that one of a million can be sent again.
"""

from __future__ import annotations

import gzip
import json
import random
import struct
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["NAMES", "Shot", "draw"]

NAMES = ("pod_cpu_usage", "pod_memory_usage", "container_restart_count")
"""Metrics of the model that is asked."""

KNOWN, STRANGER = "shop/Deployment/cart", "shop/Deployment/new"
PREDICT, INFER = "/v1/models/selfheal-ensemble:predict", "/v2/models/selfheal-ensemble/infer"
_LENGTH = "Inference-Header-Content-Length"

Random = random.Random
Json = Any


@dataclass(frozen=True)
class Shot:
    """One request.

    Attributes:
        kind: Protocol and mutation, for the count.
        method: Of HTTP.
        path: With a query where there is one.
        body: As sent.
        headers: Beside Host, Content-Length and Connection.
        announced: Content-Length; more than the body is a client that goes away in the middle.
    """

    kind: str
    method: str
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    announced: int | None = None


def draw(seed: int, number: int) -> Shot:
    """The request with this number."""
    chance = random.Random(f"{seed}/{number}")
    protocol = chance.choice(("v1", "v2-json", "v2-binary"))
    mutate = chance.choices(list(_MUTATIONS), [weight for _, weight in _MUTATIONS.values()])[0]
    shot = _MUTATIONS[mutate][0](protocol, chance)
    return replace(shot, kind=f"{protocol} {mutate}")


# ---- valid requests --------------------------------------------------------------------------------------------------
def _instance(chance: Random, rows: int) -> dict[str, Json]:
    sick = chance.random() < 0.3
    window = {}
    for name, level in zip(NAMES, (1.0, 5e8, 0.0), strict=True):
        values: list[Json] = [level * (1 + 0.05 * chance.gauss(0, 1)) for _ in range(rows)]
        if sick:
            values[rows // 2 :] = [value * 5 for value in values[rows // 2 :]]
        window[name] = [None if chance.random() < 0.02 else value for value in values]
    found = {"workload": chance.choice((KNOWN, STRANGER)), "end": "2026-11-23T20:00:00Z", "step": 60, "window": window}
    return found | ({"now": {NAMES[2]: 3}} if chance.random() < 0.3 else {})


def _batch(chance: Random) -> list[dict[str, Json]]:
    rows = chance.choice((1, 2, 20, 60, 180, 240))
    return [_instance(chance, rows) for _ in range(chance.choice((1, 1, 2, 5)))]


def _tree(protocol: str, chance: Random) -> Json:
    """A valid body as JSON; of V2, data are where the binary extension would take them out."""
    batch = _batch(chance)
    if protocol == "v1":
        return {"instances": batch}
    rows = len(batch[0]["window"][NAMES[0]])
    data = [[[one["window"][name][row] for name in NAMES] for row in range(rows)] for one in batch]
    parameters: dict[str, Json] = {"end": batch[0]["end"], "step": 60, "metrics": ",".join(NAMES)}
    if chance.random() < 0.3:
        parameters["binary_data_output"] = True
    windows = {"name": "windows", "datatype": "FP32", "shape": [len(batch), rows, len(NAMES)], "data": data}
    workloads = {"name": "workloads", "datatype": "BYTES", "shape": [len(batch)]}
    names = [one["workload"] for one in batch]
    return {"id": "1", "parameters": parameters, "inputs": [windows, {**workloads, "data": names}]}


def _binary(tree: Json) -> tuple[Json, bytes]:
    """Header and tensors of the binary extension."""
    windows, workloads = tree["inputs"]
    flat = [value for one in windows.pop("data") for row in one for value in row]
    raw = struct.pack(f"<{len(flat)}f", *(float("nan") if value is None else value for value in flat))
    names = b"".join(struct.pack("<I", len(name)) + name.encode() for name in workloads.pop("data"))
    for tensor, data in ((windows, raw), (workloads, names)):
        tensor["parameters"] = {"binary_data_size": len(data)}
    return tree, raw + names


def _shot(protocol: str, tree: Json, tail: bytes = b"", text: bytes | None = None) -> Shot:
    head = json.dumps(tree).encode() if text is None else text
    if protocol == "v1":
        return Shot("", "POST", PREDICT, head, (("Content-Type", "application/json"),))
    if protocol == "v2-json":
        return Shot("", "POST", INFER, head, (("Content-Type", "application/json"),))
    headers = (("Content-Type", "application/octet-stream"), (_LENGTH, str(len(head))))
    return Shot("", "POST", INFER, head + tail, headers)


def _valid(protocol: str, chance: Random) -> Shot:
    tree = _tree(protocol, chance)
    return _shot(protocol, *_binary(tree)) if protocol == "v2-binary" else _shot(protocol, tree)


# ---- mutations of the structure --------------------------------------------------------------------------------------
_TIMES = (
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-11-23",
    "now",
    "",
    "1e99",
    0,
    -1,
    1e18,
    10**30,
)
_TEXTS = (
    "",
    " ",
    "\0",
    "a" * 600,
    "ä/☃/😀",
    "../../etc/passwd",
    "{{7*7}}",
    "%s%n",
    "a/b/c\r\nX: 1",
    "NaN",
    "-0",
    "(pooled)",
)
_NUMBERS = (0, -0.0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**40, 1e308, -1e308, 5e-324, 1e39, 0.1, 86_400, 1e-9)
_OTHERS: tuple[Json, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, [[[[]]]], [1, "a", None])


def _odd(chance: Random) -> Json:
    return deepcopy(chance.choice(chance.choice((_TIMES, _TEXTS, _NUMBERS, _OTHERS))))  # it may be mutated itself


def _places(tree: Json, most: int = 4) -> list[tuple[Json, Json]]:
    """Containers with one of their keys: all of objects, and some of lists."""
    found: list[tuple[Json, Json]] = []
    if isinstance(tree, dict):
        found = [(tree, key) for key in tree]
    elif isinstance(tree, list):
        found = [(tree, place) for place in [*range(len(tree))][:most]]
    return found + [place for holder, key in found for place in _places(holder[key], most)]


def _structure(protocol: str, chance: Random) -> Shot:
    tree, tail = _tree(protocol, chance), b""
    if protocol == "v2-binary":
        tree, tail = _binary(tree)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        _mutate(tree, chance)
    return _shot(protocol, tree, tail)


def _mutate(tree: Json, chance: Random) -> None:
    places = _places(tree)
    if not places:
        return
    holder, key = chance.choice(places)
    what = chance.randrange(6)
    if what == 0 and isinstance(holder, dict):
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder[chance.choice(_TEXTS)] = holder.pop(key)
    elif what == 2 and isinstance(holder, dict):
        holder[chance.choice((*_TEXTS, "data", "now", "shape", "parameters", "outputs", "extra"))] = _odd(chance)
    elif what == 3 and isinstance(holder, list):
        holder[key:key] = [_odd(chance)] * chance.choice((1, 2, 1000))
    elif what == 4 and isinstance(holder[key], list):
        del holder[key][chance.randrange(len(holder[key]) + 1) :]
    else:
        holder[key] = _odd(chance)


def _sizes(protocol: str, chance: Random) -> Shot:
    """Shapes and sizes that do not fit, or are too much."""
    if protocol == "v1":
        many, rows = chance.choice(((1, 0), (1, 20_000), (300, 60), (3000, 2), (10_001, 1)))
        one = _instance(chance, rows)
        return _shot(protocol, {"instances": [one] * many})
    tree = _tree(protocol, chance)
    tail = b""
    if protocol == "v2-binary":
        tree, tail = _binary(tree)
    tensor = chance.choice(tree["inputs"])
    sizes = (0, 1, 3, -1, 2**31, 2**40, 2**63, 10**30, 1.5, "3", None)
    if chance.random() < 0.6:
        tensor["shape"] = [chance.choice(sizes) for _ in range(chance.choice((0, 1, 2, 3, 3, 4, 9)))]
    else:
        tensor.setdefault("parameters", {})["binary_data_size"] = chance.choice(
            (*sizes, len(tail), len(tail) + 1, True)
        )
    return _shot(protocol, tree, tail)


def _values(protocol: str, chance: Random) -> Shot:
    """Numbers that are none, or that arithmetic chokes on."""
    if protocol == "v1":
        tree = _tree(protocol, chance)
        for one in tree["instances"]:
            for samples in one["window"].values():
                samples[:] = [chance.choice((*_NUMBERS[:2], *_NUMBERS[9:12], None)) for _ in samples]
        return _shot(protocol, tree)
    tree, tail = _binary(_tree("v2-binary", chance))
    bits = (0x7FC00000, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0xFF7FFFFF, 1, 0x80000000, 0x3F800000)
    size = tree["inputs"][0]["parameters"]["binary_data_size"]
    few = bits if chance.random() < 0.3 else (bits[0], *bits[3:])
    raw = struct.pack(f"<{size // 4}I", *(chance.choice(few) for _ in range(size // 4)))
    return _shot("v2-binary", tree, raw + tail[size:])


def _deep(protocol: str, chance: Random) -> Shot:
    depth = chance.choice((10, 200, 1024, 1025, 20_000, 100_000))
    opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'{"instances":[', b"]}")))
    inside = opening * depth + b"1" + closing * (depth if chance.random() < 0.8 else 0)
    whole = chance.choice((b"%s", b'{"instances": %s}', b'{"inputs": [{"name": "windows", "shape": [1], "data": %s}]}'))
    return _shot(protocol, None, text=whole.replace(b"%s", inside))


def _duplicates(protocol: str, chance: Random) -> Shot:
    """A key twice: what the first says, and what the last."""
    tree, tail = _tree(protocol, chance), b""
    if protocol == "v2-binary":
        tree, tail = _binary(tree)
    text = json.dumps(tree)
    key = chance.choice(
        ("workload", "end", "step", "window", "name", "shape", "datatype", "inputs", "instances", NAMES[0])
    )
    text = text.replace(f'"{key}":', f'"{key}": {json.dumps(_odd(chance))}, "{key}":', chance.choice((1, -1)))
    return _shot(protocol, tree, tail, text.encode())


# ---- mutations of bytes and headers ----------------------------------------------------------------------------------
_TOKENS = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"1" * 400, b'"\\ud800"', b"\\u0000", b"\xff\xfe", b"\0",
    b"\xef\xbb\xbf", b",,", b"[[", b"}}", b'"', b"\\", b"//", b"null", b"True", b"\xc3\x28", b"0x10", b"+1", b"1_0",
)  # fmt: skip
_KINDS = (
    "text/csv", "", "application", "multipart/form-data; boundary=x", "application/json;;;", "*/*", "a" * 5000,
    "application/x-www-form-urlencoded", "application/cloudevents+json", "application/octet-stream",
)  # fmt: skip
_PATHS = (
    "/v1/models/{}:predict", "/v1/models/{}", "/v1/models/{}:explain", "/v1/models", "/v2", "/v2/models/{}",
    "/v2/models/{}/infer", "/v2/models/{}/infer?x=%ff", "/v2/models/{}/versions/7/infer", "/v2/models/{}/ready",
    "/v2/models/{}/versions/x/infer", "/v2/models/{}/generate", "/v2/models/{}/generate_stream",
    "/v2/repository/models/{}/load", "/v2/repository/models/{}/unload", "/v2/repository/index", "/v2/health/ready",
    "/v2/health/live", "/metrics", "/", "/docs", "//",
)  # fmt: skip
_LENGTHS = ("0", "-1", "1", "10", "9" * 30, "9" * 5000, "x", "", "1.5", "²", "٣")


def _bytes(protocol: str, chance: Random) -> Shot:
    shot = _valid(protocol, chance)
    body = bytearray(shot.body)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(body) + 1) if chance.random() < 0.5 else chance.randrange(min(len(body), 300) + 1)
        width = chance.choice((0, 1, 1, 4, 50))
        fresh = chance.choice((b"", chance.randbytes(width), chance.choice(_TOKENS), bytes(body[at : at + width]) * 2))
        body[at : at + width] = fresh
    return replace(shot, body=bytes(body))


def _cut(protocol: str, chance: Random) -> Shot:
    """A body that ends early: of its own length, or with the connection."""
    shot = _valid(protocol, chance)
    body = shot.body[: chance.randrange(len(shot.body))]
    return replace(shot, body=body, announced=len(shot.body) if chance.random() < 0.3 else None)


def _encodings(protocol: str, chance: Random) -> Shot:
    shot = _valid(protocol, chance)
    how = chance.randrange(5)
    if how == 0:
        body = gzip.compress(shot.body, mtime=0) if chance.random() < 0.7 else shot.body
        return replace(
            shot, body=body, headers=(*shot.headers, ("Content-Encoding", chance.choice(("gzip", "br", "x"))))
        )
    if how == 1:
        charset = chance.choice(("utf-16", "utf-32", "utf-8-sig", "cp500"))
        text = shot.body.decode("latin-1").encode(charset, "replace")
        return replace(shot, body=text, headers=(("Content-Type", f"application/json; charset={charset}"),))
    kept = tuple(header for header in shot.headers if header[0] != "Content-Type")
    return replace(shot, headers=(*kept, ("Content-Type", chance.choice(_KINDS))))


def _headers(protocol: str, chance: Random) -> Shot:
    shot = _valid(protocol, chance)
    lengths = (*_LENGTHS, str(len(shot.body)), str(len(shot.body) + 1))
    events = (
        ("ce-specversion", chance.choice(("1.0", "9", ""))),
        ("ce-id", "1"),
        ("ce-source", "/x"),
        ("ce-type", "t"),
    )
    options: tuple[tuple[tuple[str, str], ...], ...] = (
        ((_LENGTH, chance.choice(lengths)),),
        ((_LENGTH, chance.choice(lengths)), (_LENGTH, chance.choice(lengths))),
        events[: chance.randrange(1, 5)],
        (*events, ("ce-datacontenttype", chance.choice(("text/xml", "", "application/json")))),
        (("Accept", "image/png"), ("Accept-Encoding", "identity;q=0")),
        (("X-Long", "a" * chance.choice((1000, 20_000))),),
        (("Expect", "100-continue"), ("Range", "bytes=0-1")),
    )
    kept = tuple(header for header in shot.headers if header[0] != _LENGTH or chance.random() < 0.3)
    return replace(shot, headers=(*kept, *chance.choice(options)))


def _paths(protocol: str, chance: Random) -> Shot:
    """Other models, versions, methods, and what the server has beside predictions."""
    shot = _valid(protocol, chance)
    name = chance.choice(
        ("selfheal-ensemble", "other", "..", "%00", "%2e%2e%2f", "a" * 3000, "selfheal-ensemble:predict")
    )
    path = chance.choice(_PATHS).format(name)
    method = chance.choice(("POST", "POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"))
    return replace(shot, path=path, method=method)


_MUTATIONS: dict[str, tuple[Callable[[str, Random], Shot], int]] = {
    "valid": (_valid, 10),
    "structure": (_structure, 30),
    "sizes": (_sizes, 10),
    "values": (_values, 10),
    "deep": (_deep, 3),
    "duplicate keys": (_duplicates, 6),
    "bytes": (_bytes, 20),
    "cut off": (_cut, 8),
    "encodings": (_encodings, 6),
    "headers": (_headers, 6),
    "paths": (_paths, 6),
}
