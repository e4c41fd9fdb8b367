"""What a run tells while it goes on: metrics, quality, TensorBoard, the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from multicryogan.errors import InputError
from multicryogan.io import whole_file
from multicryogan.likelihood import Score
from multicryogan.progress import ProgressLine

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS, QUALITY, EVENTS = "metrics.jsonl", "quality.jsonl", "tensorboard"
JUDGED_SECONDS = 10.0  # between two looks at held-out images, at least ...
JUDGED_SHARE = 0.03  # ... and what they take of the time, at most
Facts = dict[str, float | int]


class Monitor:
    """Write what a run tells and show it; only the first process has one.

    Use it as a context manager while the run goes on.
    """

    def __init__(self, run: Path, step: int, *, has_events: bool = False) -> None:
        """Open a run folder; what was told after `step` is of lost work, and goes.

        Args:
            run: Folder of the run.
            step: That the run goes on from.
            has_events: Whether to write events for TensorBoard as well.

        Raises:
            InputError: TensorBoard is asked for and not installed.
        """
        self._run, self._quality = run, ""
        self._judged, self._took = time.monotonic(), 0.0
        for name in (METRICS, QUALITY):
            _drop_after(run / name, step)
        self._events = _events(run, step) if has_events else None
        self._line = ProgressLine()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Take the last line of the terminal."""
        self._open.enter_context(self._line)
        if self._events is not None:
            self._open.callback(self._events.close)
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self._open.close()

    def log(self, metrics: Facts) -> None:
        """Append one line to metrics.jsonl."""
        self._append(METRICS, metrics)

    def judge(self, facts: Facts, measure: Callable[[], Score | None]) -> None:
        """Look at held-out images, if that is due: append a line to quality.jsonl.

        Args:
            facts: How far the run is.
            measure: Measures them, in nats an image; None: it cannot.
        """
        now = time.monotonic()
        if now - self._judged < max(JUDGED_SECONDS, self._took / JUDGED_SHARE):
            return
        score = measure()
        self._judged = time.monotonic()
        self._took = self._judged - now
        if score is None:
            return
        told = {"held_out": score.mean, "standard_error": score.standard_error}
        where = ("step", "images_seen", "minutes")
        self._append(QUALITY, {**{key: facts[key] for key in where}, **told})
        self._quality = f"held-out {score.mean:.1f} nats"

    def show(self, progress: float, phase: str, metrics: Facts) -> None:
        """Show how far the run is, and what it does."""
        seconds = 60 * metrics["minutes"]
        left = None if progress < 0.01 else seconds * (1 / progress - 1)
        speed = metrics["images_seen"] / max(seconds, 1e-9)
        what = f"{phase}, {metrics['resolution']:.0f} Å"
        self._line.show(what, progress, speed, left, self._quality)

    def _append(self, name: str, facts: Facts) -> None:
        rounded = {
            k: float(f"{v:.6g}") if isinstance(v, float) else v
            for k, v in facts.items()
        }
        with (
            self._writing(self._run / name) as path,
            path.open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(rounded) + "\n")
        if self._events is not None:
            for key, value in rounded.items():
                tag = f"{name.removesuffix('.jsonl')}/{key}"
                self._events.add_scalar(tag, value, int(facts["step"]))

    @contextmanager
    def _writing(self, path: Path) -> Iterator[Path]:
        try:
            yield path
        except OSError as error:
            raise InputError(
                f"cannot write {path}: {error.strerror}; make room and give the "
                "same command to go on"
            ) from None


def _events(run: Path, step: int) -> SummaryWriter:
    """Open events for TensorBoard; those after a step are hidden by it."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "--output.tensorboard: TensorBoard is not installed; leave the option "
            "away, or pip install 'multicryogan[tensorboard]'"
        ) from None
    return SummaryWriter(str(run / EVENTS), purge_step=step + 1)


def _drop_after(path: Path, step: int) -> None:
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if _step_of(line) <= step]
    with whole_file(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _step_of(line: str) -> float:
    """Step of a line; a line that a kill cut short counts as lost."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
