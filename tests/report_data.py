"""Folders of refine, assign and landscape with little in them, for the report page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from evaluation_phantoms import hinge
from multicryogan.config import RunConfig, run_config
from multicryogan.inference.likeness import Likeness, write_likeness
from multicryogan.inference.manifold_file import save_manifold
from multicryogan.likelihood import Manifold
from multicryogan.priors import ViewLaw
from multicryogan.priors.views import CELLS

BOX, VOXEL_SIZE, CONFORMATIONS = 32, 5.0, 7
HOSTILE = (
    "</script><script>document.title = 'hacked'</script><img src=x onerror=alert(1)>"
)


def refined(folder: Path, box: int = BOX, count: int = CONFORMATIONS) -> Path:
    """A folder of refine: an arm that opens by 10 degrees."""
    folder.mkdir(parents=True)
    latents = (torch.arange(count) + 0.5)[:, None] / count
    weights = torch.full((count,), 1 / count)
    volumes = hinge(box, [10 * float(x) for x in latents])
    manifold = Manifold.span(volumes, latents, weights, 5)
    save_manifold(folder, manifold.seen_from(ViewLaw.uniform()), config(), VOXEL_SIZE)
    names = [f"conformation_{n:03d}" for n in range(1, count + 1)]
    shells = np.arange(box // 2 + 1)
    curve = 1 / (1 + np.exp(shells - 0.8 * box / 2))
    halves = pd.DataFrame({"shell": shells, **dict.fromkeys(names, curve)})
    halves.to_csv(folder / "fsc.csv", index=False)
    views = pd.DataFrame(dict.fromkeys(["all", *names], np.ones(CELLS)))
    views.to_csv(folder / "views.csv", index=False)
    write_json(folder / "refine.json", facts(count))
    write_json(folder / "verdict.json", verdict())
    write_likeness(likeness(), folder)
    return folder


def assigned(folder: Path, count: int = CONFORMATIONS) -> Path:
    """A folder of assign, as far as the page reads it."""
    folder.mkdir(parents=True)
    share = np.full(count, 1 / count)
    table = {"latent_0": (np.arange(count) + 0.5) / count, "share": share}
    table |= {"low": 0.9 * share, "high": 1.2 * share}
    pd.DataFrame(table).to_csv(folder / "populations.csv", index=False)
    (folder / "latents.npz").touch()  # the mark of such a folder
    found = [{"is_flagged": False, "text": "latent 1 does not go with the view"}]
    found += [{"is_flagged": True, "text": f"latent 1 goes with {HOSTILE}"}]
    write_json(folder / "leakage.json", {"found": found, "images": 100})
    states = {"shares": [0.25, 0.75], "low": [0.24, 0.74], "high": [0.26, 0.76]}
    write_json(folder / "findings.json", {**states, "cut": 1})
    return folder


def landscaped(folder: Path, count: int = CONFORMATIONS, states: int = 2) -> Path:
    """A folder of landscape: a barrier of 2 kT at each change of state."""
    folder.mkdir(parents=True)
    state = 1 + np.arange(count) * states // count
    is_pass = np.diff(state, append=state[-1]) > 0
    table = {"conformation": 1 + np.arange(count), "latent_0": np.arange(count) / count}
    table |= {"free_energy_kt": 2.0 * is_pass, "error_kt": 0.25, "state": state}
    pd.DataFrame(table).to_csv(folder / "landscape.csv", index=False)
    numbers = 1 + np.arange(states)
    share = numbers[::-1] / numbers.sum()
    found = {"state": numbers, "conformation": 1 + (numbers - 1) * count // states}
    found |= {"share": share, "low": share - 0.01, "high": share + 0.01}
    pd.DataFrame(found).to_csv(folder / "states.csv", index=False)
    columns = ["from_state", "to_state", "barrier_kt", "error_kt", "conformations"]
    ways = [(a, a + 1, 2.0, 0.25, "1 2 3") for a in numbers[:-1]]
    pd.DataFrame(ways, columns=columns).to_csv(folder / "ways.csv", index=False)
    return folder


def config() -> RunConfig:
    """A config with text of a user in it."""
    return run_config({"generator": {"start_map": HOSTILE}})


def facts(count: int) -> dict[str, Any]:
    """What refine.json holds."""
    rounds = [(1, 38.0, 37.5), (2, 38.6, 38.2)]
    return {
        "finished": True,
        "gold_standard_resolution_angstrom": [10.4] * (count - 1) + [None],
        "last_shell_angstrom": 10.0,
        "warnings": [HOSTILE],
        "settings": {"iterations": 2, "mask": HOSTILE},
        "iterations": [
            {"iteration": n, "log_likelihood": [own, own], "held_out": held}
            for n, own, held in rounds
        ],
    }


def verdict(is_sound: bool = True, moves: bool = True) -> dict[str, Any]:
    """What verdict.json holds."""
    return {
        "verdict": "sound" if is_sound else "unsound",
        "faults": [] if is_sound else [f"images of {HOSTILE} are explained less well"],
        "resolution_angstrom": 20.0,
        "moves": moves,
        "whole": {"real": score(37.1, 0.4), "simulated": score(37.5, 0.4)},
        "motion": score(4.4, 0.1),
    }


def score(mean: float, error: float) -> dict[str, float]:
    return {"mean": mean, "standard_error": error}


def likeness() -> Likeness:
    """White noise; the simulated of the second group twice as strong as the real."""
    power = np.ones((2, 2, BOX // 2 + 1), dtype=np.float32)
    power[1, 1] = 2
    pictures = np.random.default_rng(0).standard_normal((2, 8, BOX, BOX))
    real, simulated = pictures.astype(np.float32)
    names = ("first", HOSTILE)
    return Likeness(VOXEL_SIZE, real, simulated, names, power, 0.02 * power)


def write_json(path: Path, values: Any) -> None:  # noqa: ANN401
    path.write_text(json.dumps(values))
