"""A line that tells how far work is: redrawn on a terminal, now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

Progress = Callable[[int, int], None]  # is told how much is done, and of how much
Report = Callable[[str, int, int], None]  # and first what is being done

REDRAWN_SECONDS = 0.1  # between two states of a line on a terminal
PLAIN_SECONDS = 15.0  # before and between lines where there is none ...
PLAIN_SHARE = 0.01  # ... and share of the time so far: a day ends in few hundred lines


class ProgressLine:
    """Shows phase, share done, images a second, time left and what else there is.

    Use it as a context manager: at its end the terminal is as it was. What is printed
    meanwhile stands above the line.
    """

    def __init__(self) -> None:
        """Begin; nothing is shown yet."""
        self._begun = self._phase_begun = self._shown = time.monotonic()
        self._phase, self._first = "", 0
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        """Take the last line of the terminal, if there is one."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        console = Console(stderr=True, force_jupyter=False)
        if console.is_terminal:
            texts = (
                "{task.description}",
                "{task.percentage:3.0f}%",
                "{task.fields[rest]}",
            )
            phase, share, rest = (
                TextColumn(text, markup=False, table_column=Column(no_wrap=True))
                for text in texts
            )
            self._bar = Progress(
                phase,
                share,
                BarColumn(bar_width=None),
                rest,
                console=console,
                auto_refresh=False,
                expand=True,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )
            self._bar.add_task("start", total=1.0, rest="")
            self._bar.start()
            self._shown = -float("inf")  # the first is drawn at once
        return self

    def __exit__(self, *_: object) -> None:
        """Give the terminal back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def count(self, phase: str, done: int, total: int, more: str = "") -> None:
        """Show a phase of known length.

        Args:
            phase: What is being done; its time counts from the first call on.
            done: Images of it that are done.
            total: Images of it in all.
            more: What else there is to tell.
        """
        speed, left = self._pace(phase, done, total)
        self.show(phase, done / max(total, 1), speed, left, more)

    def count_steps(self, phase: str, done: int, total: int) -> None:
        """Show a phase of steps that are no images, and so have no speed."""
        _, left = self._pace(phase, done, total)
        self.show(phase, done / max(total, 1), 0.0, left)

    def _pace(self, phase: str, done: int, total: int) -> tuple[float, float | None]:
        """Measure what is done of a phase in a second, and the seconds left."""
        if phase != self._phase:
            self._phase, self._phase_begun = phase, time.monotonic()
            self._first = done
        seconds = time.monotonic() - self._phase_begun
        speed = (done - self._first) / seconds if seconds > 0 else 0.0
        return speed, (total - done) / speed if speed > 0 else None

    def show(
        self,
        phase: str,
        share: float,
        speed: float,
        seconds_left: float | None,
        more: str = "",
    ) -> None:
        """Show how far work is, unless that was done a moment ago.

        Args:
            phase: What is being done.
            share: Of it that is done, 0 to 1.
            speed: Images a second; 0: not known.
            seconds_left: None: not known.
            more: What else there is to tell.
        """
        now = time.monotonic()
        plain = max(PLAIN_SECONDS, PLAIN_SHARE * (now - self._begun))
        every = plain if self._bar is None else REDRAWN_SECONDS
        task = None if self._bar is None else self._bar.tasks[0]
        is_turn = task is not None and (share >= 1 or phase != task.description)
        if now - self._shown < every and not is_turn:
            return
        self._shown = now
        told = [f"{speed:,.0f} images/s"] if speed > 0 else []
        if seconds_left is not None and share < 1:
            told.append(f"{span(seconds_left)} left")
        rest = ", ".join([*told, more] if more else told)
        if self._bar is None or task is None:
            line = ": ".join(filter(None, (f"{share:4.0%}  {phase}", rest)))
            print(line, file=sys.stderr, flush=True)
            return
        self._bar.update(task.id, description=phase, completed=share, rest=rest)
        self._bar.refresh()


def ignore(*_: object) -> None:
    """Tell nobody how far work is."""


def span(seconds: float) -> str:
    """Name a span of time in two digits or so."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
