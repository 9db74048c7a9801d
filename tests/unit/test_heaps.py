"""Memory of processes with many threads."""

import subprocess
import sys
from pathlib import Path

import pytest

from selfheal.heaps import share_heaps


def test_the_c_library_takes_the_number_of_heaps_unless_the_environment_names_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    assert share_heaps(2)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "8")
    assert not share_heaps(2)


def test_what_was_needed_for_a_moment_goes_back_to_the_system(tmp_path: Path) -> None:
    script = tmp_path / "peak.py"
    script.write_text(PEAK)
    peak, after = map(int, subprocess.run([sys.executable, script], check=True, capture_output=True).stdout.split())
    assert after < peak / 2


PEAK = """
from pathlib import Path
from selfheal.heaps import give_back, share_heaps

def anonymous():
    (line,) = [one for one in Path("/proc/self/smaps_rollup").read_text().splitlines() if one.startswith("Anonymous:")]
    return int(line.split()[1])

share_heaps(1)
texts = [bytes(2000) for _ in range(50_000)]
peak = anonymous()
del texts[:-1]
give_back()
print(peak, anonymous())
"""
