"""How a folder came about: command, versions, machine, time and memory."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multicryogan import __version__
from multicryogan.errors import InputError
from multicryogan.io import whole_file

ABOUT = "about.json"
GIGABYTE = 1e9


@contextmanager
def recorded(folder: Path, device: str = "cpu") -> Iterator[None]:
    """Add what is done meanwhile to the folder's about.json, however it ends.

    Work that was killed leaves no record; nor does work that was refused, or that made
    no folder.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    is_refused = False
    try:
        yield
    except InputError:
        is_refused = True
        raise
    finally:
        if not is_refused and folder.is_dir():
            record = {
                "command": shlex.join(["multicryogan", *sys.argv[1:]]),
                "started": started.isoformat(timespec="seconds"),
                "minutes": round((time.monotonic() - clock) / 60, 2),
                "peak_memory_gb": round(peak_memory_gb(), 2),
                "threads": torch.get_num_threads(),
                "machine": machine(device),
                "versions": versions(),
            }
            with contextlib.suppress(Exception):  # must hide no error of the work
                _append(folder / ABOUT, record)


def read_about(folder: Path) -> list[dict[str, Any]]:
    """Read the records of a folder, the oldest first; none of a broken file."""
    try:
        records = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    listed = records if isinstance(records, list) else []
    return [record for record in listed if isinstance(record, dict)]


def versions() -> dict[str, str]:
    """Name the versions that a result may depend on."""
    return {
        "multicryogan": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def machine(device: str) -> str:
    """Name the processor, its cores and, where it is used, the GPU."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [
            x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")
        ]
        name = names[0] if names else name
    text = f"{name}, {os.cpu_count()} cores"
    if device.startswith("cuda") and torch.cuda.is_available():
        text += f", {torch.cuda.get_device_name()}"
    return text


def peak_memory_gb() -> float:
    """Largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIGABYTE


def _append(path: Path, record: dict[str, Any]) -> None:
    records = [*read_about(path.parent), record]
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
