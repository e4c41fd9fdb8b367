"""Scores as lines for the terminal and as plain values for JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from multicryogan.evaluation.scores import Scores, StateScore

SHOWN = 9  # states in the table, evenly picked, ends included


def score_table(scores: Scores) -> list[str]:
    """Write the table that a run ends with.

    Args:
        scores: Result of `score`.

    Returns:
        Lines of text: one row per state (nine at most), then the motion, the
        populations and the verdict.
    """
    heading = (
        "FSC with each true state: area up to Nyquist, and resolution at 0.5",
        f"{'':>10}  {'one frame for all maps':^42}  {'own frames':^15}",
        f"{'':>10}  {'best match':>14}  {'true mean':>14}  {'own mean':>10}"
        f"  {'match':>6}  {'mean':>7}",
        f"{'coordinate':>10}  {'area':>6} {'Å':>7}  {'area':>6} {'Å':>7}"
        f"  {'area':>10}  {'area':>6}  {'area':>7}",
    )
    rows = [_state_row(scores.states[m]) for m in _shown(len(scores.states))]
    return [*heading, *rows, "", *_motion_lines(scores), "", *_verdict_lines(scores)]


def to_plain(value: object) -> object:
    """Turn dataclasses, tensors and tuples into what JSON holds.

    Args:
        value: Any result of this package.

    Returns:
        Dicts, lists, strings, bools, ints and floats; None for NaN and inf.
    """
    if isinstance(value, Tensor):
        return to_plain(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name: to_plain(getattr(value, f.name)) for f in fields}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _state_row(state: StateScore) -> str:
    coordinate = ", ".join(f"{x:.4g}" for x in state.coordinate)
    cells = [
        f"{map_.fsc_area:6.3f} {map_.resolution_angstrom:7.1f}"
        for map_ in (state.recovered, state.mean_map)
    ]
    return "  ".join(
        [
            f"{coordinate:>10}",
            *cells,
            f"{state.recovered_mean.fsc_area:10.3f}",
            f"{state.recovered_own_frame.fsc_area:6.3f}",
            f"{state.mean_map_own_frame.fsc_area:7.3f}",
        ]
    )


def _motion_lines(scores: Scores) -> list[str]:
    lines = []
    order, counts = scores.order, scores.populations
    for axis, rank in enumerate(order.rank_correlation):
        name = f"({axis + 1})" if len(order.rank_correlation) > 1 else ""
        low, high = order.coverage_min[axis], order.coverage_max[axis]
        lines += [
            _line(f"rank correlation with the latent {name}", _number(rank)),
            _line(
                f"range reached {name}",
                f"{low:.4g} to {high:.4g} ({order.coverage_share[axis]:.0%} of true)",
            ),
        ]
    motion = scores.motion
    shell = scores.matching_shell
    return [
        *lines,
        _line(
            "correlation of the difference maps", _number(motion.difference_correlation)
        ),
        _line(
            f"size of the motion, true = 1 (to shell {shell})",
            _number(motion.spread_ratio),
        ),
        _line(
            "shares of the paper's rule (1st/2nd/between)", _shares(counts.paper_shares)
        ),
        _line("  after aligning neighbours", _shares(counts.paper_shares_aligned)),
        *_share_lines(scores),
    ]


def _share_lines(scores: Scores) -> list[str]:
    """Write the shares by best match where the states are few."""
    if len(scores.states) > 4:
        return []
    return [
        _line("shares by best match", _shares(scores.populations.matched_shares)),
        _line("  true", _shares(tuple(state.weight for state in scores.states))),
    ]


def _verdict_lines(scores: Scores) -> list[str]:
    lines = []
    for name, is_beaten in (
        ("the true mean map", scores.beats_mean_map),
        ("the true mean map, each in its own frame,", scores.beats_mean_map_own_frame),
        ("its own mean", scores.beats_recovered_mean),
    ):
        verb = "beats" if is_beaten else "does NOT beat"
        lines.append(f"The recovered motion {verb} {name} at its ends.")
    return lines


def _shown(count: int) -> list[int]:
    """Pick at most SHOWN indices, evenly, with both ends."""
    if count <= SHOWN:
        return list(range(count))
    return [round(i * (count - 1) / (SHOWN - 1)) for i in range(SHOWN)]


def _line(name: str, value: str) -> str:
    return f"{name:<46}{value}"


def _number(value: float) -> str:
    return "undefined (nothing varies)" if math.isnan(value) else f"{value:.3f}"


def _shares(values: tuple[float, ...]) -> str:
    return " / ".join(f"{value:.0%}" for value in values)
