"""What a run tells while it goes on: metrics.jsonl and the terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multicryogan.errors import InputError
from multicryogan.io import whole_file

METRICS = "metrics.jsonl"
PLAIN_SECONDS = 15.0  # between lines where there is no terminal to redraw


class Monitor:
    """Write metrics and show progress; only the first process has one."""

    def __init__(self, run: Path, step: int) -> None:
        """Open metrics.jsonl; lines after `step` belong to lost work and go."""
        self._path = run / METRICS
        self._drop_after(step)
        self._shown = 0.0
        self._is_terminal = sys.stderr.isatty()

    def log(self, metrics: dict[str, float | int]) -> None:
        """Append one line to metrics.jsonl."""
        rounded = {
            k: float(f"{v:.6g}") if isinstance(v, float) else v
            for k, v in metrics.items()
        }
        with self._writing(), self._path.open("a") as file:
            file.write(json.dumps(rounded) + "\n")

    def show(self, progress: float, metrics: dict[str, float | int]) -> None:
        """Show one line: redrawn on a terminal, now and then elsewhere."""
        now = time.monotonic()
        if not self._is_terminal and now - self._shown < PLAIN_SECONDS:
            return
        self._shown = now
        done = metrics["minutes"]
        left = "" if progress < 0.01 else f", {done * (1 / progress - 1):.1f} min left"
        speed = metrics["images_seen"] / max(60 * done, 1e-9)
        line = (
            f"{progress:4.0%}  {done:.1f} min{left}  "
            f"box {metrics['box']}  low-pass {metrics['resolution']:.0f} Å  "
            f"{metrics['images_seen']:,} images, {speed:,.0f} a second  "
            f"margin {metrics['margin']:.4f}"
        )
        end = "" if self._is_terminal else "\n"
        start = "\r\x1b[K" if self._is_terminal else ""
        print(f"{start}{line}", end=end, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the redrawn line."""
        if self._is_terminal:
            print(file=sys.stderr)

    def _drop_after(self, step: int) -> None:
        if not self._path.is_file():
            return
        lines = self._path.read_text().splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        with whole_file(self._path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"cannot write {self._path}: {error.strerror}; make room and give the "
                "same command to go on"
            ) from None


def _step_of(line: str) -> float:
    """Step of a line; a line that a kill cut short counts as lost."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
