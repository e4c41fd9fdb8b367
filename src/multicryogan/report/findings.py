"""What was found, in three sentences and five numbers."""

from __future__ import annotations

import math
from typing import Any

from multicryogan.report.contents import Contents
from multicryogan.report.states import shares

Number = dict[str, str]
WORDS = {2: "two", 3: "three", 4: "four"}
FEW = 4  # states whose shares have room in a number
VERDICTS = {"sound": "sound", "unsound": "not sound"}


def sentences(contents: Contents) -> list[str]:
    """Say what was found, how finely, and whether to believe it."""
    return [_shapes(contents), _resolution(contents), _confidence(contents)]


def numbers(contents: Contents) -> list[Number]:
    """Five numbers, each with what it means."""
    return [
        _states(contents),
        _populations(contents),
        _reached(contents),
        _verdict(contents),
        _warned(contents),
    ]


def warnings(contents: Contents) -> list[str]:
    """Tell what speaks against the result."""
    refined = contents.refined
    found = list(refined.get("warnings", []))
    if refined and not refined["finished"]:
        done, most = len(refined["iterations"]), refined["settings"]["iterations"]
        found.append(f"refinement goes on: this is iteration {done} of {most} at most")
    compared = contents.leakage.get("found", [])
    found += [one["text"] for one in compared if one["is_flagged"]]
    if contents.verdict.get("verdict") == "unsound":
        found.append(
            "the result does not explain the images as well as it claims: it is "
            "unfinished or in a false optimum; train longer or with another --seed"
        )
    return found


def _shapes(contents: Contents) -> str:
    shapes, verdict = contents.shapes, contents.verdict
    count, dimensions = shapes.latents.shape
    if not verdict:
        return (
            f"Whether the molecule moves was not judged; {count} conformations are "
            "shown."
        )
    if not verdict["moves"]:
        return (
            "One map explains the images as well as all conformations together: the "
            "molecule is rigid, or its motion was not found."
        )
    states = _count_states(contents)
    if states > 1:
        what = f"The molecule has {WORDS.get(states, states)} states"
    elif dimensions > 1:
        what = f"The molecule moves in {dimensions} ways at once"
    else:
        what = "The molecule moves continuously"
    motion = verdict["motion"]
    return (
        f"{what}: {count} conformations explain an image better than one map by "
        f"{motion['mean']:.1f} ± {motion['standard_error']:.1f} nats."
    )


def _resolution(contents: Contents) -> str:
    told = _told(contents)
    if not contents.refined:
        return (
            "How finely is not measured yet: refine the run, which divides the "
            "particles into halves."
        )
    if not told:
        return "The halves of the particles tell no resolution."
    return (
        f"Two halves of the particles, refined apart, agree to {_range(told)} Å; "
        f"nothing finer than {contents.refined['last_shell_angstrom']:.1f} Å was tried."
    )


def _confidence(contents: Contents) -> str:
    verdict = contents.verdict
    if not verdict:
        return "Whether it explains images that were held out was not judged."
    real, own = (verdict["whole"][kind] for kind in ("real", "simulated"))
    how = "as well as" if verdict["verdict"] == "sound" else "NOT as well as"
    return (
        f"Images that were held out are explained {how} the result claims: by "
        f"{_score(real)} nats over noise alone, its own images by {_score(own)}."
    )


def _states(contents: Contents) -> Number:
    count, dimensions = contents.shapes.latents.shape
    along = "a line" if dimensions == 1 else f"{dimensions} latents"
    states = _count_states(contents)
    if states > 1 and contents.verdict.get("moves"):
        return _number("States", str(states), f"of {count} conformations along {along}")
    return _number("Conformations", str(count), f"along {along}")


def _count_states(contents: Contents) -> int:
    """Count clear states: of the landscape, or on both sides of a step."""
    if contents.states is not None:
        return len(contents.states)
    return 1 if contents.shapes.step is None else 2


def _populations(contents: Contents) -> Number:
    shapes, told = contents.shapes, contents.findings
    if not contents.verdict.get("moves"):
        return _number("Populations", "not told", "no motion is known")
    if contents.states is not None and len(contents.states) > 1:
        texts = shares(contents.states.head(FEW))
        more = " / ..." if len(contents.states) > FEW else ""
        value = " / ".join(share for share, _ in texts) + more + " %"
        spans = " / ".join(interval for _, interval in texts) + more
        return _number("Populations", value, f"95 % interval {spans}")
    if told.get("shares"):
        value = " / ".join(f"{100 * x:.1f}" for x in told["shares"]) + " %"
        ends = zip(told["low"], told["high"], strict=True)
        spans = " / ".join(f"{100 * low:.1f} to {100 * high:.1f}" for low, high in ends)
        return _number("Populations", value, f"95 % interval {spans}")
    if shapes.step is not None:
        first = 100 * float(shapes.shares[: shapes.step + 1].sum())
        value = f"{first:.0f} / {100 - first:.0f} %"
        return _number("Populations", value, "assigned particles give intervals")
    return _number("Populations", "continuous", "see the landscape")


def _reached(contents: Contents) -> Number:
    told = _told(contents)
    if not told:
        note = "halves agree by their start" if contents.refined else "refine tells"
        return _number("Resolution", "not told", note)
    return _number("Resolution", f"{_range(told)} Å", "half-sets, FSC 0.143, in a mask")


def _verdict(contents: Contents) -> Number:
    verdict = contents.verdict
    if not verdict:
        return _number("Confidence", "not judged", "too few particles, or no defocus")
    real = verdict["whole"]["real"]
    note = f"held-out images: {_score(real)} nats over noise"
    return _number("Confidence", VERDICTS[verdict["verdict"]], note)


def _warned(contents: Contents) -> Number:
    count = len(warnings(contents))
    return _number("Warnings", str(count), "see below" if count else "nothing amiss")


def _told(contents: Contents) -> list[float]:
    """Give the resolutions that are finite."""
    values = contents.refined.get("gold_standard_resolution_angstrom", [])
    return [value for value in values if value is not None and math.isfinite(value)]


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low} to {high}"


def _score(score: dict[str, Any]) -> str:
    return f"{score['mean']:.1f} ± {score['standard_error']:.1f}"


def _number(label: str, value: str, note: str) -> Number:
    return {"label": label, "value": value, "note": note}
