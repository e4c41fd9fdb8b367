"""Wheels of this package."""

import subprocess
import sys
import zipfile
from collections.abc import Collection
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def built_wheel(folder: Path, parts: Collection[str] | None = None) -> set[str]:
    """Build a wheel from the files that git knows; list what it holds.

    Args:
        folder: To work in.
        parts: Names at the top of the repository that are used; none: all.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if parts is None or name.split("/")[0] in parts:
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet"]
    command += ["--disable-pip-version-check", "-w", str(folder)]
    done = subprocess.run(
        [*command, str(folder / "source")], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 and "No matching distribution" in done.stderr:
        pytest.skip("setuptools cannot be downloaded here")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("multicryogan-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())
