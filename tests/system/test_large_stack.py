"""Memory of training is that of the table: the images of a large stack stay on disk."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark_files import load_benchmark
from multicryogan.tables import write_toml
from system_runs import environment
from training_data import tiny_config

load_benchmark("quality_table")  # quality imports it
quality = load_benchmark("quality")  # large_stack imports it
large_stack = load_benchmark("large_stack")

ROWS, BOX = 150_000, 64
TABLE_GB = 800 * ROWS / 1e9  # text, numbers and draws
PROGRAM = """
import json, resource, sys
from pathlib import Path
from multicryogan.config import run_config
from multicryogan.io import read_particles
from multicryogan.tables import read_toml
from multicryogan.training import train

folder, peaks = Path(sys.argv[1]), []
config = run_config(read_toml(folder / "tiny.toml"))
for name in ("small", "large"):
    train(config, read_particles(folder / f"{name}.star"), 1, folder / name)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(json.dumps(peaks))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    layout = large_stack.Layout(rows=ROWS, stacks=10, box=BOX, written=600)
    large_stack.make_sets(tmp_path, layout)
    config = tiny_config({"data": {"box": 16}, "train": {"coarse_share": 0.0}})
    write_toml(tmp_path / "tiny.toml", config)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    small, large = json.loads(done.stdout.splitlines()[-1])
    images_gb = ROWS * BOX**2 * 4 / 1e9
    grown_gb = (large - small) * quality.MAXRSS_BYTES / 1e9
    assert grown_gb < TABLE_GB < images_gb / 20
