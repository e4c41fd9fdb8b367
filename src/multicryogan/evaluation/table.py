"""Scores as lines for the terminal and as plain values for JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from torch import Tensor

from multicryogan.evaluation.distribution import FEW

if TYPE_CHECKING:
    from multicryogan.evaluation.distribution import Distribution
    from multicryogan.evaluation.judgement import Judgement, StateScore
    from multicryogan.evaluation.occupancy import Occupancy
    from multicryogan.evaluation.populations import Populations
    from multicryogan.evaluation.scores import Scores

SHOWN = 9  # states in the table, evenly picked, ends included
HEADING = (
    "FSC with each true state: area up to Nyquist, and resolution at 0.5",
    f"{'':>10}  {'best match':>14}  {'true mean':>14}  {'own mean':>14}",
    f"{'coordinate':>10}  " + "  ".join([f"{'area':>6} {'Å':>7}"] * 3),
)


def score_table(scores: Scores) -> list[str]:
    """Write the table that a run ends with.

    Args:
        scores: Result of `score`.

    Returns:
        Lines of text: in own frames, then in one frame for all maps, one row per
        state (nine at most), the motion and the verdict; last the populations.
    """
    shell = scores.matching_shell
    return [
        "OWN FRAMES: every map laid on the true state by itself, since images do not",
        "show the frame of a single conformation",
        *_judgement_lines(scores.own_frames, shell),
        "",
        "ONE FRAME for all maps, as in the paper: a frame that changes along the",
        "latent counts as an error",
        *_judgement_lines(scores.common_frame, shell, scores.own_frames),
        "",
        _line("hands", _hands(scores.frames.is_mirrored.tolist())),
        *_population_lines(scores.populations),
        *_occupancy_lines(scores.occupancy),
    ]


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


def _judgement_lines(
    judged: Judgement, shell: int, own: Judgement | None = None
) -> list[str]:
    """Tell of one choice of frames; `own`, those of each map by itself, explains it."""
    rows = [_state_row(judged.states[m]) for m in _shown(len(judged.states))]
    told = [*_motion_lines(judged, shell), *_verdict_lines(judged)]
    if own is not None and own.beats_mean_map and not judged.beats_mean_map:
        told += [
            "It does in own frames: the molecule as a whole turns along the latent,",
            "which images do not show, and `multicryogan volumes` takes out.",
        ]
    return [*HEADING, *rows, "", *told]


def _state_row(state: StateScore) -> str:
    coordinate = ", ".join(f"{x:.4g}" for x in state.coordinate)
    cells = [
        f"{map_.fsc_area:6.3f} {map_.resolution_angstrom:7.1f}"
        for map_ in (state.recovered, state.mean_map, state.recovered_mean)
    ]
    return "  ".join([f"{coordinate:>10}", *cells])


def _motion_lines(judged: Judgement, shell: int) -> list[str]:
    lines = []
    order, motion = judged.order, judged.motion
    for axis, rank in enumerate(order.rank_correlation):
        name = f"({axis + 1})" if len(order.rank_correlation) > 1 else ""
        low, high = order.coverage_min[axis], order.coverage_max[axis]
        lines += [
            _line(f"rank correlation with the latent {name}", _number(rank)),
            _line(
                f"told by the latent, of left-out matches {name}",
                _number(order.explained[axis]),
            ),
            _line(
                f"range reached {name}",
                f"{low:.4g} to {high:.4g} ({order.coverage_share[axis]:.0%} of true)",
            ),
        ]
    lines += [
        _line(
            "correlation of the difference maps", _number(motion.difference_correlation)
        ),
        _line(
            f"size of the motion, true = 1 (to shell {shell})",
            _number(motion.spread_ratio),
        ),
    ]
    if len(judged.states) <= FEW:
        true = tuple(state.weight for state in judged.states)
        lines += [
            _line("shares by best match", _shares(judged.matched_shares)),
            _line("  true", _shares(true)),
        ]
    if judged.distribution is not None:
        lines += _distribution_lines(judged.distribution)
    return lines


def _distribution_lines(found: Distribution) -> list[str]:
    return [
        _line("shares of the thirds of the true range", _shares(found.shares)),
        _line("  true", _shares(found.true_shares)),
        _line(
            "largest difference of the cumulative shares",
            f"{100 * found.largest_difference:.1f} points",
        ),
    ]


def _verdict_lines(judged: Judgement) -> list[str]:
    lines = []
    for name, is_beaten in (
        ("the true mean map", judged.beats_mean_map),
        ("its own mean", judged.beats_recovered_mean),
    ):
        verb = "beats" if is_beaten else "does NOT beat"
        lines.append(f"The recovered motion {verb} {name} at its ends.")
    return lines


def _population_lines(counts: Populations | None) -> list[str]:
    if counts is None:
        return []
    return [
        _line(
            "shares of the paper's rule (1st/2nd/between)", _shares(counts.paper_shares)
        ),
        _line("  after aligning neighbours", _shares(counts.paper_shares_aligned)),
        _line("shares relative to both ends", _shares(counts.relative_shares)),
    ]


def _occupancy_lines(found: Occupancy | None) -> list[str]:
    if found is None:
        return []
    values = (
        ("correlation with the true occupancy", found.correlation),
        ("  axes relabelled only", found.relabelled_correlation),
        ("  baseline: through a straight map", found.straight_correlation),
        ("  baseline: product of the true marginals", found.marginals_correlation),
    )
    return [_line(name, _number(value)) for name, value in values]


def _hands(is_mirrored: list[bool]) -> str:
    """Count the volumes of the rarer hand: which one is true, images do not show."""
    count = len(is_mirrored)
    rarer = min(sum(is_mirrored), count - sum(is_mirrored))
    if rarer == 0:
        return f"{count} alike"
    verb = "is a mirror image" if rarer == 1 else "are mirror images"
    return f"{rarer} of {count} volumes {verb} of the others"


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
