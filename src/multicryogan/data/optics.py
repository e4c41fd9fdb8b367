"""The optics of particles in the words of a microscopist, and what looks unusual."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from multicryogan.imaging import CTFParams
from multicryogan.io import GROUP_COLUMNS, ParticleStack

SHOWN = 9  # groups described one by one
ASTIGMATIC = 1_000.0  # Å between the two defoci worth a note
DEFOCUS = (2_000.0, 60_000.0)  # Å, usual range
LARGEST_AMPLITUDE = 0.3  # amplitude contrast


def lack_of_ctf(stack: ParticleStack) -> str:
    """Say what it means that a file holds no defocus, and the cure."""
    return (
        f"{stack.path} holds no defocus: images would be taken as free of the CTF; "
        "estimate it and extract again, or give --defocus-angstrom, --voltage-kv, "
        "--cs-mm and --amplitude-contrast"
    )


def optics_groups(stack: ParticleStack) -> NDArray[np.int64]:
    """(N,) optics group of each particle; one where the file holds no optics."""
    if stack.ctf_params() is None:
        return np.zeros(len(stack), np.int64)
    return stack.optics_group


def group_names(stack: ParticleStack) -> list[str]:
    """Name the groups of `optics_groups`, in order, as the file does.

    Images of one name and several boxes are as many groups: their boxes tell them.
    """
    names, named = _names(stack)
    first = np.unique(optics_groups(stack), return_index=True)[1]
    found = [names[number] for number in named[first]]
    if len(set(found)) == len(found):
        return found
    boxes = stack.boxes[first]
    return [f"{name} ({box} pixels)" for name, box in zip(found, boxes, strict=True)]


def describe_groups(stack: ParticleStack, optics: CTFParams) -> list[tuple[str, str]]:
    """Describe each optics group in one line.

    Args:
        stack: N particles.
        optics: Their optics, (N,) each.

    Returns:
        Label and text of each group, nine at most.
    """
    names, group = _names(stack)
    lines = []
    for number, name in list(enumerate(names))[:SHOWN]:
        label = "optics" if len(names) == 1 else f"optics group {name}"
        rows = torch.from_numpy(np.flatnonzero(group == number))
        lines.append((label, _optics_line(optics.select(rows))))
    if len(names) > SHOWN:
        lines.append(("", f"... and {len(names) - SHOWN:,} more optics groups"))
    return lines


def unusual_optics(optics: CTFParams) -> list[str]:
    """Note values that are often mistakes of units or of sign."""
    mean = (optics.defocus_u_angstrom + optics.defocus_v_angstrom) / 2
    outside = int(((mean < DEFOCUS[0]) | (mean > DEFOCUS[1])).sum())
    split = (optics.defocus_u_angstrom - optics.defocus_v_angstrom).abs()
    astigmatic = int((split > ASTIGMATIC).sum())
    amplitude = optics.amplitude_contrast
    notes = []
    if outside:
        notes.append(
            f"{outside:,} particles have a defocus outside "
            f"{DEFOCUS[0] / 1e4:g} to {DEFOCUS[1] / 1e4:g} µm underfocus; is it in Å, "
            "and positive?"
        )
    if astigmatic:
        notes.append(f"{astigmatic:,} particles have astigmatism above 1,000 Å")
    if bool(((amplitude < 0) | (amplitude > LARGEST_AMPLITUDE)).any()):
        notes.append(
            f"amplitude contrast of {_span(amplitude.numpy())} is unusual; 0.07 to 0.1 "
            "is meant for most data"
        )
    return notes


def _names(stack: ParticleStack) -> tuple[list[str], NDArray[np.int64]]:
    """Names in the file, and (N,) which of them each particle has."""
    for column in GROUP_COLUMNS:
        if column in stack.table.columns:
            values, named = np.unique(
                stack.table[column].to_numpy(), return_inverse=True
            )
            return [f"{value}" for value in values], named
    return ["1"], np.zeros(len(stack), np.int64)


def _optics_line(optics: CTFParams) -> str:
    """One group of particles in the words of a microscopist."""
    u, v = optics.defocus_u_angstrom, optics.defocus_v_angstrom
    phase = _span(optics.phase_shift_deg.numpy())
    parts = [
        f"{len(u):,} particles",
        f"{_span(optics.voltage_kv.numpy())} kV",
        f"Cs {_span(optics.cs_mm.numpy())} mm",
        f"amplitude contrast {_span(optics.amplitude_contrast.numpy())}",
        f"defocus {_span(((u + v) / 2e4).numpy(), '.2f')} µm",
        f"astigmatism up to {float((u - v).abs().max()):.0f} Å",
    ]
    return ", ".join(parts) + ("" if phase == "0" else f", phase shift {phase}°")


def _span(values: NDArray[np.float32], style: str = ".4g") -> str:
    """One value, or the range."""
    low, high = f"{values.min():{style}}", f"{values.max():{style}}"
    return low if low == high else f"{low} to {high}"
