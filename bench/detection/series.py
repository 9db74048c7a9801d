"""Which series a bench looks at."""

from __future__ import annotations

from pathlib import Path

from selfheal.errors import NoData


def names_of(data: Path, sets: str = "", limit: int = 0) -> list[str]:
    """Series below a folder of ``SET/SERIES.parquet`` files (sets may have folders of their own).

    Args:
        data: The folder.
        sets: Names with commas between them; all when empty.
        limit: Only the first so many of each set; all when 0.

    Returns:
        Names such as ``smd/machine-1-2``, as the referee has them.

    Raises:
        NoData: When there is none.
    """
    wanted = [part for part in sets.split(",") if part] or sorted(path.name for path in data.iterdir() if path.is_dir())
    found = []
    for one in wanted:
        files = sorted((data / one).rglob("*.parquet"))
        found += [str(file.relative_to(data).with_suffix("")) for file in (files[:limit] if limit else files)]
    if not found:
        raise NoData(f"{data} holds no SET/SERIES.parquet{' of ' + sets if sets else ''}: give the folder with --data")
    return found
