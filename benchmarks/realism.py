"""What each complication of real stacks costs on Hsp90, alone and all together.

python benchmarks/realism.py --structures A.pdb B.pdb --table Occ2D_1k.npy -o WORK
    [--sets clean all ...] [--seeds 0] [--views uniform]

For every set (configs/realism-*.toml, and paper-continuous.toml as `clean`) makes
100,000 images and 5,000 others that no step sees, and runs the commands that a user
would give: train, evaluate, refine, evaluate, assign on the others; then
benchmarks/oracle.py on these, which says what the true maps would tell of them. Writes
WORK/results.jsonl, one line per run, and prints it as a table.

The same command goes on where it was stopped. With the defaults a set takes about 100
minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

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

from multicryogan.errors import InputError
from multicryogan.io import whole_file

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
FEW = 4  # shares that are shown
IMAGES = {"data": 100_000, "others": 5_000}  # of a set, and its seed: the order


@dataclass(frozen=True)
class Job:
    """One run: all that its result depends on, commit and machine apart."""

    data: str
    seed: int
    images: int  # seen in training
    iterations: int  # of refine
    views: str  # law of views, in train and refine
    threads: int

    @property
    def name(self) -> str:
        """Folder of the run; other settings never meet in it."""
        return (
            f"{self.data}-{self.views}-{self.images}images-{self.iterations}iterations-"
            f"seed{self.seed}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what has no line yet, then print the table."""
    options = parse(arguments)
    work: Path = options.output
    results = work / "results.jsonl"
    jobs = [
        Job(
            data,
            seed,
            options.images,
            options.iterations,
            options.views,
            options.threads,
        )
        for data in options.sets
        for seed in options.seeds
    ]

    def run_all() -> None:
        for job in jobs:
            if find_record(asdict(job), read_records(results)) is None:
                make_data(job.data, options, work / "data")
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
    add("--images", type=int, default=1_100_000, help="seen in training")
    add("--iterations", type=int, default=8, help="of refine at most")
    add("--views", choices=("learned", "uniform"), default="learned")
    add("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def make_data(name: str, options: argparse.Namespace, folder: Path) -> None:
    """Simulate the particles of a set and the others, if they are not there yet."""
    stem = "paper-continuous" if name == "clean" else f"realism-{name}"
    config = str(ROOT / "configs" / f"{stem}.toml")
    law = ["--law.table", str(options.table)] if name == "twist" else []
    for seed, (part, images) in enumerate(IMAGES.items()):
        command = ["simulate", "--config", config, "--structures", *options.structures]
        command += [*law, "--images", str(images), "--seed", str(seed)]
        command += ["--threads", str(options.threads)]
        done = folder / name / part
        step(command, done)


def run_job(job: Job, work: Path) -> Record:
    """Train, refine, assign and score one run; return its line."""
    run, data = work / "runs" / job.name, work / "data" / job.data
    particles, others = data / "data/particles.star", data / "others"
    threads = ["--threads", str(job.threads)]
    about, minutes = machine("cpu"), {}
    trained, refined, assigned = (
        run / name for name in ("trained", "refined", "assigned")
    )
    train = ["train", str(particles), "--images", str(job.images), *SETS[job.data]]
    train += ["--seed", str(job.seed), "--imaging.views", job.views, *threads]
    minutes["train"] = step(train, trained)
    refine = ["refine", str(trained), str(particles), "--views", job.views, *threads]
    refine += ["--iterations", str(job.iterations), "--seed", str(job.seed)]
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
        "single particles": single_particles(others, assigned, job.threads),
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
    }


def single_particles(others: Path, assigned: Path, threads: int) -> list[str]:
    """Compare what was told of single particles with what the true maps tell."""
    script = [sys.executable, str(ROOT / "benchmarks/oracle.py"), str(others)]
    script += ["--threads", str(threads), "--assigned", str(assigned)]
    found = subprocess.run(script, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise InputError(f"oracle.py {others}: {found.stderr.strip()[-200:]}")
    return found.stdout.splitlines()


def table(records: Sequence[Record]) -> list[str]:
    """Write a Markdown table, a row for each run and stage."""
    head = ["set", "views", "seed", "stage", "rank correlation", "reached"]
    head += ["FSC area, ends and middle", "Å", "true mean map's area", "difference"]
    head += ["shares of thirds or states, %", "occupancy"]
    lines = [_row(head), _row(["---"] * len(head))]
    for record in records:
        job = record["settings"]
        for stage in ("trained", "refined"):
            own = record[stage]
            reached = zip(own["from"], own["to"], strict=True)
            cells = [job["data"], job["views"], str(job["seed"]), stage]
            cells += [_list(own["rank"], 2)]
            cells += [", ".join(f"{low:.0f} to {high:.0f}" for low, high in reached)]
            cells += [_list(own["area"], 2), _list(own["angstrom"], 1)]
            cells += [_list(own["mean map"], 2), f"{own['difference']:.2f}"]
            few = own["shares"] if len(own["shares"]) <= FEW else []
            cells += [_list([100 * share for share in few], 0)]
            cells += [_list([own["occupancy"]], 2)]
            lines.append(_row(cells))
    return lines


def _list(values: Sequence[float | None], digits: int) -> str:
    return " / ".join("-" if x is None else f"{x:.{digits}f}" for x in values)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
