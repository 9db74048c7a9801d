"""A fitted detector as one ``.npz`` of numbers, with nothing in it that could run (docs/adr/0004-models-as-data.md)."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selfheal.errors import BadModel
from selfheal.window import Floats


def save_arrays(folder: Path, name: str, names: tuple[str, ...], arrays: Mapping[str, Floats]) -> None:
    """Write numbers and metric names to ``NAME.npz``; big tables in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / f"{name}.npz", names=np.array(names, dtype=np.str_), allow_pickle=False, **dict(arrays)
    )


def load_arrays(folder: Path, name: str) -> tuple[tuple[str, ...], dict[str, Floats]]:
    """Read what :func:`save_arrays` wrote.

    Raises:
        BadModel: When the file is missing, damaged, or holds objects.
    """
    path = folder / f"{name}.npz"
    try:
        with zipfile.ZipFile(BytesIO(path.read_bytes())) as stored:
            arrays = {entry.removesuffix(".npy"): _array(stored.read(entry)) for entry in stored.namelist()}
        names = tuple(str(metric) for metric in arrays.pop("names"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadModel(f"{path.name} of the model cannot be read ({error}): train or fetch the model again") from None
    return names, arrays


def _array(content: bytes) -> npt.NDArray[Any]:
    """One array of an npz. Numpy's own reader takes most of its time to read the same few headers again and again.

    Raises:
        ValueError: When it is damaged or holds objects.
    """
    end = 10 + int.from_bytes(content[8:10], "little")
    shape, columns_first, dtype = _header(content[:end])
    found: npt.NDArray[Any] = np.frombuffer(content, dtype, math.prod(shape), end)
    return found.reshape(shape, order="F" if columns_first else "C")


@lru_cache(maxsize=1024)
def _header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    stream = BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"an array of format {version}")
    shape, columns_first, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError("an array of objects")
    return shape, columns_first, dtype


def pick(arrays: Mapping[str, Floats], *keys: str) -> tuple[Floats, ...]:
    """Arrays by key.

    Raises:
        BadModel: When one is missing.
    """
    lacking = [key for key in keys if key not in arrays]
    if lacking:
        raise BadModel(f"the model lacks {', '.join(lacking)}: it was written by another version, train it again")
    return tuple(arrays[key] for key in keys)
