"""What each complication of real stacks costs on Hsp90, alone and all together.

python benchmarks/realism.py --structures A.pdb B.pdb --table Occ2D_1k.npy -o WORK
    [--sets clean all ...] [--seeds 0 1 2] [--views learned uniform ...] [--half]

For every set (configs/realism-*.toml, and paper-continuous.toml as `clean`) makes
100,000 images and 5,000 others that no step sees, and runs the commands that a user
would give: train, evaluate, refine, evaluate, assign on the others; then
benchmarks/oracle.py on these, which says what the true maps would tell of them. Writes
WORK/results.jsonl, one line per run, and prints it as a table: medians and ranges of
the seeds.

The same command goes on where it was stopped. With the defaults a set takes about 100
minutes on one core; with --half, at 16 pixels of 10 Å with as much noise in each of the
frequencies that are left, and half the images, about 15.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from quality import (
    ROOT,
    append_record,
    find_record,
    guarded,
    machine,
    read_records,
    run_command,
)
from quality_table import Record

from multicryogan.config import RefineConfig, SimulationConfig
from multicryogan.errors import InputError
from multicryogan.io import whole_file
from multicryogan.tables import build, read_toml, write_toml

SETS = {
    "clean": (),
    "shifts-5": ("--imaging.shift-sigma-angstrom", "5"),
    "shifts-10": ("--imaging.shift-sigma-angstrom", "5"),
    "optics": (),
    "noise": (),
    "views": (),
    "correlated": (),
    "correlated-states": (),
    "composition": (),
    "twist": ("--latent.kind", "uniform", "--latent.dimensions", "2"),
    "all": ("--imaging.shift-sigma-angstrom", "5"),
}
"""Options of train: what a user would say who looked at the data."""
VIEWS = {
    "learned": ("learned", "learned"),
    "uniform": ("uniform", "uniform"),
    "refined": ("uniform", "learned"),
}
"""Laws of views in train and in refine."""
FEW = 4  # shares that are shown
TOLD = re.compile(r"(?:correlation|right group:|rightly:) (\d[\d. /]*)")
PLACED = re.compile(r"(?:as placed|mean posterior(?: of all)?): ([\d. %/]*) %")
PARTS = ("data", "others")  # of a set, and the seed of each: the order


@dataclass(frozen=True)
class Size:
    """How large the sets are, and how long they are trained on."""

    factor: int  # by which boxes are divided
    simulated: dict[str, int]
    images: int  # seen in training

    @property
    def box(self) -> int:
        """That the sets have then."""
        return BOX // self.factor


BOX = 32  # of the configs
FULL = Size(1, {"data": 100_000, "others": 5_000}, 1_100_000)
HALF = Size(2, {"data": 50_000, "others": 5_000}, 300_000)


@dataclass(frozen=True)
class Job:
    """One run: all that its result depends on, commit and machine apart."""

    data: str
    box: int
    seed: int
    images: int  # seen in training
    iterations: int  # of refine
    views: str  # of `VIEWS`
    threads: int

    @property
    def trained(self) -> str:
        """Folder of the training; other settings never meet in it."""
        views = VIEWS[self.views][0]
        return f"{self.data}-box{self.box}-{views}-{self.images}images-seed{self.seed}"

    @property
    def refined(self) -> str:
        """Folder in it of the refinement."""
        return f"{VIEWS[self.views][1]}-{self.iterations}iterations"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what has no line yet, then print the table."""
    options = parse(arguments)
    work: Path = options.output
    results = work / "results.jsonl"
    size = HALF if options.half else FULL
    jobs = [
        Job(
            data,
            size.box,
            seed,
            options.images or size.images,
            options.iterations,
            views,
            options.threads,
        )
        for data in options.sets
        for views in options.views
        for seed in options.seeds
    ]

    def run_all() -> None:
        for job in jobs:
            if find_record(asdict(job), read_records(results)) is None:
                make_data(job.data, size, options, work / "data")
                append_record(results, run_job(job, work))

    status = guarded("realism", run_all)
    if status != 0:
        return status
    print("\n".join(table(read_records(results))))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--structures", nargs=2, required=True, help="chains A and B of PDB entry 2CG9")
    add("--table", type=Path, required=True, help="occupancies (beta, phi), .npy")
    add("-o", "--output", type=Path, required=True, help="folder to write")
    add("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    add("--seeds", nargs="+", type=int, default=[0])
    add("--half", action="store_true", help="sets at half the box")
    add("--images", type=int, help="seen in training")
    most = RefineConfig().iterations
    add("--iterations", type=int, default=most, help="of refine at most")
    add("--views", nargs="+", choices=list(VIEWS), default=["learned"])
    add("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def make_data(name: str, size: Size, options: argparse.Namespace, folder: Path) -> None:
    """Simulate the particles of a set and the others, if they are not there yet."""
    stem = "paper-continuous" if name == "clean" else f"realism-{name}"
    config = ROOT / "configs" / f"{stem}.toml"
    own = folder / f"{name}-box{size.box}"
    if size.factor > 1:
        own.mkdir(parents=True, exist_ok=True)
        values = coarser(read_toml(config), size.factor)
        config = own / config.name
        with whole_file(config) as path:
            write_toml(path, build(SimulationConfig, values))
    law = ["--law.table", str(options.table)] if name == "twist" else []
    for seed, part in enumerate(PARTS):
        command = ["simulate", "--config", str(config), "--structures"]
        command += [*options.structures, *law, "--seed", str(seed)]
        command += ["--images", str(size.simulated[part])]
        command += ["--threads", str(options.threads)]
        step(command, own / part)


def coarser(values: dict[str, Any], factor: int) -> dict[str, Any]:
    """Take a set at larger pixels, with as much noise in each frequency left."""

    def own(table: dict[str, Any]) -> dict[str, Any]:
        other = dict(table)
        if "box" in table:
            other["box"] = table["box"] // factor
        if "pixel_size" in table:
            other["pixel_size"] = table["pixel_size"] * factor
        return other

    decibel = values["snr_db"] + 20 * math.log10(factor)
    groups = [own(group) for group in values.get("groups", ())]
    return own(values) | {"snr_db": decibel, "groups": groups}


def run_job(job: Job, work: Path) -> Record:
    """Train, refine, assign and score one run; return its line."""
    run, data = work / "runs" / job.trained, work / "data" / f"{job.data}-box{job.box}"
    particles, others = data / "data/particles.star", data / "others"
    threads = ["--threads", str(job.threads)]
    about, minutes = machine("cpu"), {}
    in_train, in_refine = VIEWS[job.views]
    trained = run / "trained"
    refined, assigned = (run / job.refined / name for name in ("refined", "assigned"))
    train = ["train", str(particles), "--images", str(job.images), *SETS[job.data]]
    train += ["--seed", str(job.seed), "--imaging.views", in_train, *threads]
    train += ["--data.box", str(job.box)]
    minutes["train"] = step(train, trained)
    refine = ["refine", str(trained), str(particles), "--views", in_refine]
    refine += [*threads, "--iterations", str(job.iterations), "--seed", str(job.seed)]
    minutes["refine"] = step(refine, refined)
    assign = ["assign", str(refined), str(others / "particles.star"), *threads]
    minutes["assign"] = step(assign, assigned)
    for folder in (trained, refined):
        scores = folder / "evaluation"
        command = ["evaluate", str(folder), "--truth", str(data / "data"), *threads]
        step(command, scores)
    return {
        "settings": asdict(job),
        **about,
        "minutes": minutes,
        "trained": figures(trained),
        "refined": figures(refined),
        "single particles": single_particles(data, assigned, job.threads),
    }


def step(command: Sequence[str], output: Path) -> float:
    """Run a command into a folder, unless that was done before: minutes it took."""
    name = "-".join(output.relative_to(output.parents[1]).parts)
    log = output.parents[1] / f"{name}.log"
    done = log.with_suffix(".done")
    if done.exists():
        return float(done.read_text())
    ending = run_command([*command, "-o", str(output)], log)
    if ending.status != 0 or not ending.last_line.startswith("done"):
        raise InputError(f"{log}: {command[0]} ended with: {ending.last_line}")
    with whole_file(done) as path:
        path.write_text(f"{ending.minutes:.1f}")
    return float(done.read_text())


def figures(folder: Path) -> Record:
    """Pick what the table shows from scores.json: figures in own frames."""
    scores = json.loads((folder / "evaluation/scores.json").read_text())
    own = scores["own_frames"]
    count, shares, occupancy = (
        len(own["states"]),
        own["distribution"],
        scores["occupancy"],
    )
    picked = [own["states"][m] for m in sorted({0, count // 2, count - 1})]
    return {
        "rank": own["order"]["rank_correlation"],
        "from": own["order"]["coverage_min"],
        "to": own["order"]["coverage_max"],
        "difference": own["motion"]["difference_correlation"],
        "area": [state["recovered"]["fsc_area"] for state in picked],
        "angstrom": [state["recovered"]["resolution_angstrom"] for state in picked],
        "mean map": [state["mean_map"]["fsc_area"] for state in picked],
        "shares": shares["shares"] if shares else own["matched_shares"],
        "occupancy": occupancy["correlation"] if occupancy else None,
        "verdict": json.loads((folder / "verdict.json").read_text())["verdict"],
    }


def single_particles(data: Path, assigned: Path, threads: int) -> list[str]:
    """Compare what was told of single particles with what the true maps tell."""
    script = [sys.executable, str(ROOT / "benchmarks/oracle.py"), str(data / "others")]
    script += ["--threads", str(threads), "--told", str(data / "told.txt")]
    script += ["--assigned", str(assigned)]
    found = subprocess.run(script, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise InputError(f"oracle.py {data}: {found.stderr.strip()[-200:]}")
    return found.stdout.splitlines()


def table(records: Sequence[Record]) -> list[str]:
    """Write a Markdown table, a row for each set and stage: medians of the seeds."""
    head = ["set", "box", "views", "seeds", "stage", "rank correlation", "reached"]
    head += ["FSC area, ends and middle", "Å", "true mean map's area", "difference"]
    head += ["shares of thirds or states, %", "occupancy", "calls itself sound"]
    head += ["single particles", "by the true maps"]
    head += ["their shares, %", "by the true maps"]
    lines = [_row(head), _row(["---"] * len(head))]
    alike: dict[str, list[Record]] = {}
    for record in records:
        job = {k: v for k, v in record["settings"].items() if k != "seed"}
        alike.setdefault(json.dumps(job), []).append(record)
    for group in alike.values():
        job = group[0]["settings"]
        seeds = ", ".join(str(record["settings"]["seed"]) for record in group)
        for stage in ("trained", "refined"):
            own = [record[stage] for record in group]
            cells = [job["data"], str(job["box"]), job["views"], seeds, stage]
            ends = (_list([run[end] for run in own], 0) for end in ("from", "to"))
            ranks = [[x if x is None else abs(x) for x in run["rank"]] for run in own]
            cells += [_list(ranks, 2)]
            cells += [" to ".join(ends)]
            cells += [_list([run["area"] for run in own], 2)]
            cells += [_list([run["angstrom"] for run in own], 1)]
            cells += [_list([run["mean map"] for run in own], 2)]
            cells += [_list([[run["difference"]] for run in own], 2)]
            few = len(own[0]["shares"]) <= FEW
            shares = [[100 * x for x in run["shares"]] if few else [] for run in own]
            cells += [_list(shares, 0)]
            cells += [_list([[run["occupancy"]] for run in own], 2)]
            sound = sum(run["verdict"] == "sound" for run in own)
            cells += [f"{sound} of {len(own)}"]
            if stage == "refined":
                told = [told_of_particles(record) for record in group]
                cells += [_list(values, 2) for values in zip(*told, strict=True)]
                placed = [placed_shares(record) for record in group]
                cells += [_list(values, 0) for values in zip(*placed, strict=True)]
            else:
                cells += ["-"] * 4
            lines.append(_row(cells))
    return lines


def told_of_particles(record: Record) -> tuple[list[float], list[float]]:
    """Rank correlations, or shares told rightly: by the run, and by the true maps."""
    by_run, by_maps = (
        [x / 100 if x > 1 else x for x in values] for values in _picked(record, TOLD)
    )
    return by_run, by_maps


def placed_shares(record: Record) -> tuple[list[float], list[float]]:
    """Per cent of the particles in each state or third: by the run, and true maps."""
    return _picked(record, PLACED)


def _picked(
    record: Record, pattern: re.Pattern[str]
) -> tuple[list[float], list[float]]:
    """Numbers that a pattern captures in what was told: by the run, and true maps."""
    found: tuple[list[float], list[float]] = [], []
    for line in record["single particles"]:
        told = found["assigned:" not in line]
        for values in pattern.findall(line):
            told += [float(x.strip(" %")) for x in values.split("/")]
    return found


def _list(runs: Sequence[Sequence[float | None]], digits: int) -> str:
    """Median of each place over the runs, and the range where there is one."""
    return " / ".join(_spread(place, digits) for place in zip(*runs, strict=True))


def _spread(values: Sequence[float | None], digits: int) -> str:
    known = [x for x in values if x is not None]
    if not known:
        return "-"
    low, middle, high = (f"{x(known):.{digits}f}" for x in (min, median, max))
    return middle if low == high else f"{middle} ({low} to {high})"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
