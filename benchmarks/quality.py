"""Quality of the adversarial reconstruction on Hsp90, beside its baselines.

python benchmarks/quality.py --structures A.pdb B.pdb -o WORK [--quick]

Makes three data sets (configs/paper-*.toml, data seed 0), trains every set, mode and
seed in turn by the command that a user would give, evaluates it, and writes
WORK/results.jsonl (one line per run) and WORK/table.md. With the defaults that takes 22
hours on two cores; --quick, at 16 voxels of 10 Å, about ten minutes.

The same command goes on where it was stopped: a run with a line is skipped, one that
was begun is resumed. A run that failed has a line too and counts as a missed seed;
delete the line to run it again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from quality_table import MAPS, Record, table

from multicryogan.errors import InputError
from multicryogan.evaluation.fsc import last_shell_above
from multicryogan.io import whole_file

ROOT = Path(__file__).parents[1]
SETS = ("homogeneous", "continuous", "discrete")
MODES = ("fast", "paper")
FULL_BOX, QUICK_BOX, QUICK_PIXEL = 32, 16, 10.0
QUICK = {"modes": ["fast"], "seeds": [0], "minutes": 3.0, "paper_minutes": 3.0}
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024  # unit of ru_maxrss


@dataclass(frozen=True)
class Job:
    """One run: all that its result depends on, commit and machine apart."""

    data: str  # homogeneous, continuous or discrete
    mode: str
    seed: int
    minutes: float
    images: int
    box: int
    threads: int
    device: str

    @property
    def data_name(self) -> str:
        """Folder of the data set."""
        return f"{self.data}-{self.images}x{self.box}"

    @property
    def name(self) -> str:
        """Folder of the run; other settings never meet in it."""
        how = f"{self.mode}-{self.minutes:g}min-{self.threads}threads-{self.device}"
        return f"{self.data_name}-{how}-seed{self.seed}"


@dataclass(frozen=True)
class Ending:
    """How a command ended."""

    status: int  # exit status; negative: killed by that signal
    last_line: str
    minutes: float
    peak_gb: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what has no line yet, then print the table and write it."""
    options = parse(arguments)
    jobs = plan(options)
    work: Path = options.output
    results = work / "results.jsonl"

    def run_all() -> None:
        for place, job in enumerate(jobs, start=1):
            if find_record(asdict(job), read_records(results)) is not None:
                continue
            print(f"{place} of {len(jobs)}: {job.name}", file=sys.stderr)
            make_data(job, options.structures, work)
            append_record(results, run_job(job, work))

    status = guarded("quality", run_all)
    if status != 0:
        return status
    records = [find_record(asdict(job), read_records(results)) for job in jobs]
    lines = table([record for record in records if record is not None])
    print("\n".join(lines))
    with whole_file(work / "table.md") as path:
        path.write_text("\n".join(lines) + "\n")
    return 0


def guarded(name: str, work: Callable[[], None]) -> int:
    """Work to the end: 0, or the exit status of what stopped it, said in a line."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        work()
    except InputError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options; --quick changes defaults, and what is given wins over it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--structures", nargs=2, required=True, help="chains A and B of PDB entry 2CG9")
    add("-o", "--output", type=Path, required=True, help="folder to write")
    add("--quick", action="store_true", help="16 voxels of 10 Å, 3 minutes, one seed")
    add("--sets", nargs="+", choices=SETS, default=list(SETS))
    add("--modes", nargs="+", choices=MODES, default=list(MODES))
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--minutes", type=float, default=20.0, help="of a run in mode fast")
    add("--paper-minutes", type=float, default=120.0, help="of a run in mode paper")
    add("--images", type=int, default=100_000, help="particle images in each data set")
    add("--threads", type=int, default=2)
    add("--device", choices=("cpu", "cuda"), default="cpu", help="that trains")
    if parser.parse_args(arguments).quick:
        parser.set_defaults(**QUICK)
    return parser.parse_args(arguments)


def plan(options: argparse.Namespace) -> list[Job]:
    """List all runs, in the order in which they are made."""
    minutes = {"fast": options.minutes, "paper": options.paper_minutes}
    box = QUICK_BOX if options.quick else FULL_BOX
    images, threads, device = options.images, options.threads, options.device
    return [
        Job(data, mode, seed, minutes[mode], images, box, threads, device)
        for data in options.sets
        for mode in options.modes
        for seed in options.seeds
    ]


def read_records(path: Path) -> list[Record]:
    """Read the lines of results.jsonl; none where it does not exist yet."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def find_record(settings: Record, records: Sequence[Record]) -> Record | None:
    """Find the line of a run, by its settings."""
    return next((r for r in records if r["settings"] == settings), None)


def append_record(path: Path, record: Record) -> None:
    """Add a line to results.jsonl: whole, or not at all."""
    lines = [json.dumps(r) for r in (*read_records(path), record)]
    with whole_file(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines))


def make_data(job: Job, structures: Sequence[str], work: Path) -> None:
    """Simulate the data set of a run, if it is not there yet."""
    folder = work / "data" / job.data_name
    if folder.is_dir():
        return
    ending = run_command(
        simulate_command(job, structures, folder), folder.with_suffix(".log")
    )
    if ending.status != 0:
        raise InputError(ending.last_line.removeprefix("multicryogan: "))


def run_job(job: Job, work: Path) -> Record:
    """Train and evaluate one run; return its line."""
    run, data = work / "runs" / job.name, work / "data" / job.data_name
    log = run.with_name(f"{job.name}.log")
    about = machine(job.device)
    is_resumed = run.is_dir()
    ending = run_command(train_command(job, data, run), log)
    if ending.status == 0 and ending.last_line.startswith("stopped"):
        raise InputError(f"{run} was stopped; the same command goes on")
    load_after = os.getloadavg()[0]
    failure, figures = _failure("train", ending), None
    if not failure:
        scored = run_command(
            evaluate_command(job, data, run), log.with_suffix(".evaluate.log")
        )
        failure = _failure("evaluate", scored)
    if not failure:
        figures = collect(json.loads((run / "evaluation/scores.json").read_text()))
    return {
        "settings": asdict(job),
        **about,
        "load_after": load_after,
        "minutes": round(ending.minutes, 2),
        "peak_gb": round(ending.peak_gb, 3),
        "is_resumed": is_resumed,
        "updates": updates(run),
        "verdict": verdict(run),
        "failure": failure,
        "figures": figures,
    }


def simulate_command(job: Job, structures: Sequence[str], folder: Path) -> list[str]:
    """Command line that makes a data set."""
    config = str(ROOT / "configs" / f"paper-{job.data}.toml")
    command = ["simulate", "--config", config, "--structures", *structures]
    command += ["-o", str(folder), "--images", str(job.images), "--seed", "0"]
    command += ["--threads", str(job.threads)]
    if job.box != FULL_BOX:
        command += ["--box", str(job.box), "--pixel-size", str(QUICK_PIXEL)]
    return command


def train_command(job: Job, data: Path, run: Path) -> list[str]:
    """Command line of a user who leaves all settings as they are."""
    command = ["train", str(data / "particles.star"), "-o", str(run)]
    command += ["--seed", str(job.seed), "--time-limit", f"{job.minutes:g}"]
    command += ["--threads", str(job.threads), "--device", job.device]
    if job.mode != "fast":
        command += ["--mode", job.mode]
    if job.data == "homogeneous":
        command += ["--generator.kind", "volume"]
    if job.box != FULL_BOX:
        command += ["--data.box", str(job.box)]
    return command


def evaluate_command(job: Job, data: Path, run: Path) -> list[str]:
    """Command line that scores a run."""
    command = ["evaluate", str(run), "--truth", str(data)]
    return [*command, "--threads", str(job.threads)]


def run_command(command: Sequence[str], log: Path) -> Ending:
    """Run one command of multicryogan to its end, in its own process.

    Peak memory is that of this process alone. It starts with the size of the one that
    calls, so nothing large may be computed here.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    # Unbuffered, so that what it said last is the last line of the log.
    whole = [sys.executable, "-u", "-m", "multicryogan", *command]
    with log.open("w") as file:
        process = subprocess.Popen(whole, stdout=file, stderr=subprocess.STDOUT)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except (KeyboardInterrupt, SystemExit):
            process.terminate()  # it writes a checkpoint
            process.wait()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    return Ending(
        status=process.returncode,
        last_line=lines[-1].strip() if lines else "",
        minutes=(time.monotonic() - start) / 60,
        peak_gb=usage.ru_maxrss * MAXRSS_BYTES / 1e9,
    )


def _failure(command: str, ending: Ending) -> str:
    if ending.status == 0:
        return ""
    return f"{command} ended with status {ending.status}: {ending.last_line}"


def collect(scores: Record) -> Record:
    """Pick what the table shows from a run's scores.json.

    Returns:
        places: for the first, middle and last true state, its coordinate, weight and,
            for each of MAPS, FSC area and last shell with FSC >= 0.5 (shell) in own
            frames, and both in one frame for all maps (common_area, common_shell).
        rank, from_deg, to_deg, difference, size: of the motion in own frames, None
            where undefined; common: the same in one frame for all maps.
        mirrored: volumes of the rarer hand.
        shares: by every rule; first is the state of least coordinate.
    """
    own, common = scores["own_frames"], scores["common_frame"]
    count = len(own["states"])
    picked = sorted({0, count // 2, count - 1})
    rank = own["order"]["rank_correlation"][0]
    is_backwards = rank is not None and rank < 0
    hands = scores["frames"]["is_mirrored"]
    return {
        "places": [_place(own["states"][m], common["states"][m]) for m in picked],
        **_motion(own),
        "common": _motion(common),
        "mirrored": min(sum(hands), len(hands) - sum(hands)),
        "shares": {
            name: _swap_ends(values) if is_backwards else values
            for name, values in scores["populations"].items()
            if "shares" in name
        }
        | {"matched_shares": own["matched_shares"]},
    }


def _motion(judged: Record) -> Record:
    """Order and size of the motion in one choice of frames."""
    order, motion = judged["order"], judged["motion"]
    rank = order["rank_correlation"][0]
    return {
        "rank": None if rank is None else abs(rank),
        "from_deg": order["coverage_min"][0],
        "to_deg": order["coverage_max"][0],
        "difference": motion["difference_correlation"],
        "size": motion["spread_ratio"],
    }


def _swap_ends(shares: list[float]) -> list[float]:
    """Exchange first and second; the share in transition stays."""
    first, second, between = shares
    return [second, first, between]


def _place(own: Record, common: Record) -> Record:
    """Best match and true mean map at one true state."""
    place = {"coordinate": own["coordinate"][0], "weight": own["weight"]}
    for name, key in MAPS.items():
        place[name] = {
            "area": own[key]["fsc_area"],
            "shell": last_shell_above(torch.tensor(own[key]["fsc"]), 0.5),
            "common_area": common[key]["fsc_area"],
            "common_shell": last_shell_above(torch.tensor(common[key]["fsc"]), 0.5),
        }
    return place


def updates(run: Path) -> int:
    """Read the last logged generator update of a run; 0 where there is none."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def verdict(run: Path) -> str:
    """Read what a run says of itself without the truth; empty where it says nothing."""
    path = run / "verdict.json"
    if not path.is_file():
        return ""
    facts = json.loads(path.read_text())
    return f"{facts['verdict']}, {'moves' if facts['moves'] else 'rigid'}"


def machine(device: str) -> Record:
    """Say what was measured where, and what else the machine was doing."""
    describe = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(
        describe, cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "machine": f"{_processor()}, {os.cpu_count()} cores{_accelerator(device)}",
        "torch": torch.__version__,
        "load_before": os.getloadavg()[0],
    }


def _accelerator(device: str) -> str:
    """Name of the GPU, asked in its own process: this one must stay small."""
    if device == "cpu":
        return ""
    ask = "import torch; print(torch.cuda.get_device_name())"
    named = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=False
    )
    if named.returncode != 0:
        raise InputError("no CUDA device was found; leave --device out")
    return f", {named.stdout.strip()}"


def _processor() -> str:
    """Name of the processor, where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
