"""What was found, in three sentences and five numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from multicryogan.report.contents import Contents
from multicryogan.report.curves import power_ratios
from multicryogan.report.states import shares

if TYPE_CHECKING:
    import pandas as pd

Number = dict[str, str]
WORDS = {2: "two", 3: "three", 4: "four"}
FEW = 4  # states whose shares have room in a number
VERDICTS = {"sound": "sound", "unsound": "not sound"}
UNLIKE = 0.2  # of power: noise or signal of the simulated images is wrong


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
            "the result does not fit the images: it is unfinished or in a false "
            "optimum; train longer or with another --seed"
        )
    if contents.likeness is not None:
        found += [
            f"simulated images{of} have {ratio:.2f} times the power of real ones: "
            "noise, contrast or optics are wrong"
            for of, ratio in power_ratios(contents.likeness)
            if abs(ratio - 1) > UNLIKE
        ]
    return found


def _shapes(contents: Contents) -> str:
    verdict, dimensions = contents.verdict, contents.shapes.latents.shape[1]
    if not verdict:
        return (
            f"Whether the molecule moves was not judged; {len(contents.shapes.latents)}"
            " conformations are shown."
        )
    if not verdict["moves"]:
        return (
            "One map explains the images as well as all conformations together: the "
            "molecule is rigid, or its motion was not found."
        )
    states = count_states(contents)
    if states > 1:
        what = f"the molecule has {WORDS.get(states, states)} states"
    elif dimensions > 1:
        what = f"the molecule moves in {dimensions} ways at once"
    else:
        what = "the molecule moves continuously"
    if verdict["verdict"] != "sound":
        what = f"if the result can be believed, which it cannot yet, {what}"
    return (
        f"{what[0].upper()}{what[1:]}: all conformations together explain an image "
        f"better than one map by {_score(verdict['motion'])} nats."
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
    count = len(contents.refined["gold_standard_resolution_angstrom"])
    of = ""
    if len(told) < count:
        of = f" in {len(told)} of {count} conformations, and in the others not at all"
    return (
        f"Two halves of the particles, refined apart, agree to {_range(told)} Å{of}; "
        f"nothing finer than {contents.refined['last_shell_angstrom']:.1f} Å was tried."
    )


def _confidence(contents: Contents) -> str:
    verdict = contents.verdict
    if not verdict:
        return "Whether it explains images that were held out was not judged."
    if verdict["verdict"] != "sound":
        faults = "; ".join(verdict["faults"])
        return f"The result does NOT fit: held-out {faults}."
    real, own = (verdict["whole"][kind] for kind in ("real", "simulated"))
    return (
        "Images that were held out are explained as well as the result claims: by "
        f"{_score(real)} nats over noise alone, images simulated from the result by "
        f"{_score(own)}."
    )


def _states(contents: Contents) -> Number:
    count, dimensions = contents.shapes.latents.shape
    along = "a line" if dimensions == 1 else f"{dimensions} latents"
    states = count_states(contents)
    if states > 1 and contents.verdict.get("moves"):
        return _number("States", str(states), f"of {count} conformations along {along}")
    return _number("Conformations", str(count), f"along {along}")


def count_states(contents: Contents) -> int:
    """Count clear states: of the landscape, or on both sides of a step."""
    if contents.states is not None:
        return len(contents.states)
    cut = contents.findings.get("cut", contents.shapes.step)
    return 1 if cut is None else 2


def _populations(contents: Contents) -> Number:
    import pandas as pd

    told = contents.findings
    if not contents.verdict.get("moves"):
        return _number("Populations", "not told", "no motion is known")
    if count_states(contents) == 1:
        return _number("Populations", "continuous", "see the landscape")
    if contents.states is not None:
        return _shared(contents.states)
    if told.get("shares"):
        names = {"share": "shares", "low": "low", "high": "high"}
        sides = pd.DataFrame({name: told[key] for name, key in names.items()})
        return _shared(sides, f"to conformation {told['cut'] + 1}, and after it; ")
    step = contents.shapes.step or 0
    first = 100 * float(contents.shapes.shares[: step + 1].sum())
    note = f"to conformation {step + 1}, and after it; assign gives intervals"
    return _number("Populations", f"{first:.0f} / {100 - first:.0f} %", note)


def _shared(states: pd.DataFrame, where: str = "") -> Number:
    """Tell the shares of the first few states."""
    texts = shares(states.head(FEW))
    more = " / ..." if len(states) > FEW else ""
    value = " / ".join(share for share, _ in texts) + more + " %"
    spans = " / ".join(interval for _, interval in texts) + more
    return _number("Populations", value, f"{where}95 % interval {spans}")


def _reached(contents: Contents) -> Number:
    told = _told(contents)
    if not contents.refined:
        return _number("Resolution", "not told", "multicryogan refine measures it")
    if not told:
        return _number("Resolution", "not told", "the halves tell none")
    note = "half-sets, FSC 0.143, in a mask"
    if min(told) <= contents.refined["last_shell_angstrom"] + 1e-3:
        note += "; nothing finer was tried"
    return _number("Resolution", f"{_range(told)} Å", note)


def _verdict(contents: Contents) -> Number:
    verdict = contents.verdict
    if not verdict:
        note = "too few particles, or their defocus is not known"
        return _number("Confidence", "not judged", note)
    note = f"held-out images, to {verdict['resolution_angstrom']:.0f} Å"
    return _number("Confidence", VERDICTS[verdict["verdict"]], note)


def _warned(contents: Contents) -> Number:
    count = len(warnings(contents))
    amiss = "nothing amiss" if contents.verdict else "but held-out images did not judge"
    return _number("Warnings", str(count), "see below" if count else amiss)


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
