"""The files that `multicryogan assign` writes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from multicryogan.cli.folders import forget
from multicryogan.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from multicryogan.inference import Assignment
    from multicryogan.io import ParticleStack

Interval = tuple[float, float]
ASSIGNED, SELECTED = "particles_assigned", "particles_selected"
CSV = "latents.csv"
FEWEST = 100  # particles that dependences are looked for in
NOT_ALWAYS = (
    *("populations.csv", "findings.json", "leakage.json"),
    *("poses.pkl", "ctf.pkl", "z.pkl"),
)
TABLES = (".star", ".cs")  # particle files that poses are written back to


@Parameter(name="*")
@dataclass(frozen=True)
class ExportOptions:
    """Files that are written when asked for."""

    select: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """LOW:HIGH, with commas for more dimensions: also write the particles whose latent
    lies inside, as particles_selected."""
    cryodrgn: Annotated[bool, Parameter(negative="")] = False
    """Also write cryoDRGN's own poses.pkl, ctf.pkl and z.pkl."""


@dataclass(frozen=True)
class Export:
    """What to write of an assignment, settled before the search.

    Attributes:
        stack: The N particles.
        halves: (N,) half-set of each particle, 0 or 1.
        seed: Of the run.
        intervals: Ends, one pair per latent dimension, that select particles.
        has_pickles: Whether to write cryoDRGN's own files.
        rows: (N,) structured array of a .cs file: it may be gone after the search.
    """

    stack: ParticleStack
    halves: NDArray[np.uint32]
    seed: int
    intervals: tuple[Interval, ...] | None
    has_pickles: bool
    rows: NDArray[Any] | None


def plan_export(
    stack: ParticleStack, dimensions: int, asked: ExportOptions, seed: int
) -> Export:
    """Check what the user asked for.

    Args:
        stack: The particles.
        dimensions: Of the latent.
        asked: What the command line gives.
        seed: Of the run.

    Raises:
        InputError: An interval cannot be read, or there is no table to select from.
    """
    from multicryogan.io import half_sets, load_cryosparc

    select = asked.select
    kind = stack.path.suffix.lower()
    intervals = None if select is None else read_intervals(select, dimensions)
    if intervals is not None and kind not in TABLES:
        raise InputError(
            f"--select {select}: {stack.path} has no table to take particles from; "
            "give the particles as a .star or .cs file, or leave --select away"
        )
    rows = load_cryosparc(stack.path)[0] if kind == ".cs" else None
    halves = half_sets(stack, seed)
    return Export(stack, halves, seed, intervals, asked.cryodrgn, rows)


def read_intervals(text: str, dimensions: int) -> tuple[Interval, ...]:
    """Read `LOW:HIGH`, one for each latent dimension, separated by commas.

    Raises:
        InputError: Not of this form, the wrong number of them, or LOW above HIGH.
    """
    parts = text.split(",")
    if len(parts) != dimensions:
        raise InputError(
            f"--select {text}: {len(parts)} intervals found; give one LOW:HIGH for "
            f"each latent dimension, separated by commas ({dimensions} for this run)"
        )
    return tuple(_read_interval(part, text) for part in parts)


def _read_interval(part: str, text: str) -> Interval:
    """Two ends, the lower first."""
    try:
        low, high = (float(end) for end in part.split(":"))
    except ValueError:
        raise InputError(
            f"--select {text}: {part!r} is not an interval; give two numbers as in "
            "0.2:0.5"
        ) from None
    if not low <= high:  # NaN as well
        raise InputError(
            f"--select {text}: {part!r} holds no number; give the lower end first, as "
            "in 0.2:0.5"
        )
    return low, high


def write_assignment(
    found: Assignment, export: Export, voxel_size: float, output: Path
) -> None:
    """Write the maps, the tables and the particles with their poses."""
    from multicryogan.io import write_volume

    forget(output, "class_*.mrc", f"{ASSIGNED}.*", f"{SELECTED}.*", *NOT_ALWAYS)
    for number, volume in enumerate(found.volumes, start=1):
        write_volume(output / f"class_{number:03d}.mrc", volume, voxel_size)
    write_latents(found, output)
    write_populations(found, export, output)
    write_leakage(found, export, output)
    write_particles(found, export, output)
    write_poses(found, export, output)


def write_latents(found: Assignment, output: Path) -> None:
    """Write latents.npz and latents.csv: what the posterior says of each particle."""
    import numpy as np
    import pandas as pd

    from multicryogan.inference import NPZ
    from multicryogan.io import whole_file

    placement = found.placement
    arrays = {
        "latent": placement.latent,
        "latent_spread": placement.latent_spread,
        "conformation": placement.conformation,
        "log_likelihood": placement.log_likelihood,
        "pair_weight": placement.pair_weight,
        "entropy": placement.entropy,
    }
    stored = {name: values.numpy() for name, values in arrays.items()}
    stored["conformation_latents"] = found.latents.numpy()
    stored["conformation_prior"] = found.weights.numpy()
    stored["conformation_weight"] = placement.conformation_weight.numpy()
    stored["rotation"] = found.rotation.numpy()
    stored["shift_angstrom"] = found.shift_angstrom.numpy()
    with whole_file(output / NPZ) as path, path.open("wb") as file:
        np.savez(file, allow_pickle=False, **stored)
    columns = {"particle": np.arange(1, len(placement.latent) + 1)}
    for name, values in arrays.items():
        if values.ndim == 1:
            # Conformations are numbered from 1 in all tables and names of files.
            columns[name] = values.numpy() + (name == "conformation")
        else:
            columns |= {f"{name}_{i}": v.numpy() for i, v in enumerate(values.T)}
    with whole_file(output / CSV) as path:
        pd.DataFrame(columns).to_csv(path, index=False, float_format="%.6g")


def write_populations(found: Assignment, export: Export, output: Path) -> None:
    """Write populations.csv and findings.json: shares, and what they show."""
    import pandas as pd

    from multicryogan.inference import FINDINGS, POPULATIONS, find, share_table
    from multicryogan.io import whole_file

    findings = find(found, export.seed)
    if isinstance(findings, str):
        print(f"{findings}: no shares are estimated")
        return
    print(findings.text())
    shares = share_table(found, findings.density)
    columns = {name: values.numpy() for name, values in shares.items()}
    with whole_file(output / POPULATIONS) as path:
        pd.DataFrame(columns).to_csv(path, index=False, float_format="%.6g")
    with whole_file(output / FINDINGS) as path:
        path.write_text(
            json.dumps(findings.to_dict(), indent=1) + "\n", encoding="utf-8"
        )


def write_leakage(found: Assignment, export: Export, output: Path) -> None:
    """Write leakage.json: do latent and pose, or defocus, go together; say so."""
    from multicryogan.inference import LEAKAGE, measure_leakage
    from multicryogan.io import whole_file

    if len(found.rotation) < FEWEST or len(found.latents) < 2:
        return
    optics = export.stack.ctf_params()
    defocus = None
    if optics is not None:
        defocus = (optics.defocus_u_angstrom + optics.defocus_v_angstrom) / 2
    measured = measure_leakage(
        found.placement.latent, found.rotation, defocus, seed=export.seed
    )
    with whole_file(output / LEAKAGE) as path:
        path.write_text(json.dumps(asdict(measured), indent=1) + "\n", encoding="utf-8")
    for one in measured.found:
        if one.is_flagged:
            print(f"warning: {one.text}")


def write_particles(found: Assignment, export: Export, output: Path) -> None:
    """Write the particle table with its poses, of all and of the selected particles."""
    from multicryogan.io import write_cryosparc, write_star

    kind = export.stack.path.suffix.lower()
    if kind not in TABLES:
        return
    chosen = None if export.intervals is None else _inside(found, export.intervals)
    if chosen is not None:
        _tell_selected(chosen)
    if export.rows is not None:
        rows = _cryosparc_rows(found, export, export.rows)
        write_cryosparc(output / f"{ASSIGNED}.cs", rows)
        if chosen is not None and chosen.any():
            write_cryosparc(output / f"{SELECTED}.cs", rows[chosen])
        return
    table, optics = _relion_table(found, export), export.stack.optics
    write_star(output / f"{ASSIGNED}.star", table, optics)
    if chosen is not None and chosen.any():
        write_star(output / f"{SELECTED}.star", table[chosen], optics)


def write_poses(found: Assignment, export: Export, output: Path) -> None:
    """Write poses, ctf and z as cryoDRGN understands them."""
    from multicryogan.io import cryodrgn_tables, write_cryodrgn

    stack = export.stack
    tables = cryodrgn_tables(
        found.rotation,
        found.shift_angstrom,
        found.placement.latent,
        stack.boxes,
        stack.pixel_sizes,
        stack.ctf_params(),
    )
    write_cryodrgn(output, tables, has_pickles=export.has_pickles)


def _relion_table(found: Assignment, export: Export) -> pd.DataFrame:
    """RELION's table with poses, classes and half-sets."""
    from multicryogan.io import with_poses

    stack, placement = export.stack, found.placement
    # Without an optics table it is RELION 3.0's, and origins count pixels.
    size = stack.pixel_sizes if stack.optics is None else None
    table = with_poses(stack.table, found.rotation, found.shift_angstrom, size)
    return table.assign(
        rlnRandomSubset=export.halves.astype("int64") + 1,
        rlnClassNumber=placement.conformation.numpy() + 1,
        rlnMaxValueProbDistribution=placement.pair_weight.numpy(),
        rlnLogLikeliContribution=placement.log_likelihood.numpy(),
    )


def _cryosparc_rows(
    found: Assignment, export: Export, rows: NDArray[Any]
) -> NDArray[Any]:
    """Rows of a .cs file with poses, classes and half-sets."""
    import numpy as np

    from multicryogan.io import with_columns, with_cryosparc_poses

    placement = found.placement
    best = placement.conformation[:, None]
    weight = placement.conformation_weight.gather(1, best)[:, 0]
    rows = with_cryosparc_poses(
        rows, found.rotation, found.shift_angstrom, export.stack.pixel_sizes
    )
    return with_columns(
        rows,
        {
            "alignments3D/split": export.halves,
            "alignments3D/class": placement.conformation.numpy().astype(np.uint32),
            "alignments3D/class_posterior": weight.numpy().astype(np.float32),
        },
    )


def _inside(found: Assignment, intervals: tuple[Interval, ...]) -> NDArray[Any]:
    """(N,) whether the latent mean lies in the box of the intervals, ends included."""
    import numpy as np

    low, high = np.array(intervals).T
    latent = found.placement.latent.numpy()
    return np.asarray(((latent >= low) & (latent <= high)).all(axis=1))


def _tell_selected(chosen: NDArray[Any]) -> None:
    """Say how many particles were selected; a table of none is not written."""
    print(f"selected: {chosen.sum():,} of {len(chosen):,} particles")
    if not chosen.any():
        print(f"no latent lies inside --select: {SELECTED} is not written")
