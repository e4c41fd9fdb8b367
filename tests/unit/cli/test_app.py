"""Facts about how settings are put together and how commands end."""

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multicryogan.cli import main
from multicryogan.config import RunConfig, SimulationConfig, run_config
from multicryogan.errors import InputError
from multicryogan.tables import build, read_toml
from multicryogan.training import TrainingError

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.toml"))
TRAIN = ["train", "particles.star", "-o", "run"]


def status(*tokens: str) -> int:
    with pytest.raises(SystemExit) as ending:
        main(tokens)
    assert isinstance(ending.value.code, int)
    return ending.value.code


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """Collect the configs that `train` would run with."""
    configs: list[RunConfig] = []

    def collect(config: RunConfig, *others: object) -> bool:
        configs.append(config)
        return True

    def no_particles(*arguments: object) -> None:
        return None

    monkeypatch.setattr("multicryogan.cli.train.run_training", collect)
    monkeypatch.setattr("multicryogan.cli.options.open_particles", no_particles)
    return configs


def config_of(trained: list[RunConfig], *more: str) -> RunConfig:
    assert status(*TRAIN, "--threads", "1", *more) == 0
    return trained[-1]


def write(folder: Path, text: str) -> str:
    path = folder / "settings.toml"
    path.write_text(text)
    return str(path)


def test_without_options_the_mode_is_fast(trained: list[RunConfig]) -> None:
    config = config_of(trained)
    assert (config.mode, config.train.poses_per_volume) == ("fast", 16)


def test_mode_paper_brings_its_own_defaults(trained: list[RunConfig]) -> None:
    config = config_of(trained, "--mode", "paper")
    assert config.mode == "paper"
    assert config.train.poses_per_volume == 1
    assert config.discriminator.kind == "pooled"
    assert config.generator.kind == "cnn"


def test_mode_may_be_given_with_an_equals_sign(trained: list[RunConfig]) -> None:
    assert config_of(trained, "--mode=paper").train.poses_per_volume == 1


def test_an_option_wins_over_the_mode(trained: list[RunConfig]) -> None:
    config = config_of(trained, "--mode", "paper", "--train.beta2", "0.95")
    assert config.train.beta2 == 0.95


def test_an_option_equal_to_the_fast_default_wins_over_the_mode(
    trained: list[RunConfig],
) -> None:
    options = ("--mode", "paper", "--train.poses-per-volume", "16")
    assert config_of(trained, *options).train.poses_per_volume == 16


@pytest.mark.parametrize(
    "command", [TRAIN, ["check", "a.star"], ["simulate", "-o", "out"]]
)
def test_an_unknown_key_is_told_with_its_file_and_what_there_is(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, "qqqq = 3\n")
    assert status(*command, "--config", file) == 2
    said = capsys.readouterr().err
    assert f"{file}: unknown config key qqqq; there are m" in said


def test_a_file_gives_defaults(trained: list[RunConfig], tmp_path: Path) -> None:
    file = write(tmp_path, "[train]\nbeta1 = 0.25\n[data]\nbox = 48\n")
    config = config_of(trained, "--config", file)
    assert (config.train.beta1, config.data.box) == (0.25, 48)


def test_a_file_keeps_the_defaults_beside_its_values(
    trained: list[RunConfig], tmp_path: Path
) -> None:
    file = write(tmp_path, "[train]\nbeta1 = 0.25\n")
    assert config_of(trained, "--config", file).train.beta2 == 0.99


def test_an_option_wins_over_the_file(trained: list[RunConfig], tmp_path: Path) -> None:
    file = write(tmp_path, "[train]\nbeta1 = 0.25\n")
    options = ("--config", file, "--train.beta1", "0.5")
    assert config_of(trained, *options).train.beta1 == 0.5


def test_a_file_may_set_the_mode(trained: list[RunConfig], tmp_path: Path) -> None:
    file = write(tmp_path, 'mode = "paper"\n[train]\npenalty_weight = 3.0\n')
    config = config_of(trained, "--config", file)
    assert (config.mode, config.train.poses_per_volume) == ("paper", 1)
    assert config.train.penalty_weight == 3.0


def test_the_mode_as_an_option_wins_over_that_of_the_file(
    trained: list[RunConfig], tmp_path: Path
) -> None:
    file = write(tmp_path, 'mode = "paper"\n')
    config = config_of(trained, "--config", file, "--mode", "fast")
    assert (config.mode, config.train.poses_per_volume) == ("fast", 16)


def test_short_names_reach_the_training_settings(trained: list[RunConfig]) -> None:
    config = config_of(trained, "--images", "5000", "--seed", "7")
    assert (config.train.images, config.train.seed) == (5000, 7)


def test_short_names_are_in_their_table_in_a_file(
    trained: list[RunConfig], tmp_path: Path
) -> None:
    file = write(tmp_path, "[train]\nimages = 5000\nseed = 7\n")
    config = config_of(trained, "--config", file)
    assert (config.train.images, config.train.seed) == (5000, 7)


def test_without_an_end_training_takes_20_minutes(trained: list[RunConfig]) -> None:
    assert config_of(trained).train.time_limit == 20


def test_with_a_number_of_images_there_is_no_time_limit(
    trained: list[RunConfig],
) -> None:
    assert config_of(trained, "--images", "5000").train.time_limit == 0


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[SimulationConfig]:
    """Collect the configs that `simulate` would run with."""
    configs: list[SimulationConfig] = []

    def collect(config: SimulationConfig, *others: object) -> None:
        configs.append(config)

    monkeypatch.setattr("multicryogan.cli.simulate.simulate_with_progress", collect)
    return configs


def test_simulate_reads_its_file_and_options(
    simulated: list[SimulationConfig], tmp_path: Path
) -> None:
    file = write(tmp_path, "images = 50\nbox = 24\n[optics]\nvoltage_kv = 200.0\n")
    options = ("--config", file, "--images", "60", "--threads", "1")
    assert status("simulate", "-o", "data", *options) == 0
    (config,) = simulated
    assert (config.images, config.box, config.optics.voltage_kv) == (60, 24, 200.0)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_a_config_that_comes_with_it_reaches_the_run_unchanged(
    file: Path, simulated: list[SimulationConfig], trained: list[RunConfig]
) -> None:
    values = read_toml(file)
    common = ("--config", str(file), "--threads", "1")
    if {"mode", "train", "generator"} & set(values):
        assert config_of(trained, *common) == run_config(values)
    else:
        assert status("simulate", "-o", "data", *common) == 0
        assert simulated == [build(SimulationConfig, values)]


@pytest.mark.parametrize("tokens", [["--help"], ["--version"], ["train", "--help"]])
def test_asking_for_help_is_a_success(tokens: list[str]) -> None:
    assert status(*tokens) == 0


def ending_of(monkeypatch: pytest.MonkeyPatch, outcome: bool | BaseException) -> int:
    """Exit status when training ends like this."""

    def command(*arguments: object, **options: object) -> bool:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr("multicryogan.cli.options.open_particles", lambda *_: None)
    monkeypatch.setattr("multicryogan.cli.train.run_training", command)
    return status(*TRAIN, "--threads", "1")


def test_a_run_that_is_done_ends_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ending_of(monkeypatch, True) == 0


def test_a_run_that_is_stopped_is_not_taken_for_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ending_of(monkeypatch, False) == 130


def test_a_run_that_broke_down_ends_with_1_and_says_so_as_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending_of(monkeypatch, TrainingError("not finite")) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "multicryogan: not finite\n")


@pytest.mark.parametrize("threads", ["-2", "1025", "2147483648"])
def test_threads_are_a_number_that_a_machine_may_have(
    trained: list[RunConfig], capsys: pytest.CaptureFixture[str], threads: str
) -> None:
    assert status(*TRAIN, "--threads", threads) == 2
    message = f"--threads is {threads}; give 0 (all cores) or up to 1024"
    assert capsys.readouterr().err == f"multicryogan: {message}\n"
    assert trained == []


@pytest.mark.parametrize("seconds", ["nan", "-1", "inf"])
def test_a_trial_takes_a_time(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("check", "no.star", f"--trial-seconds={seconds}") == 2
    assert f"--trial-seconds is {seconds}; give 0" in capsys.readouterr().err


def test_a_mistake_ends_with_2_and_its_message_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending_of(monkeypatch, InputError("no such thing; give another")) == 2
    assert capsys.readouterr().err == "multicryogan: no such thing; give another\n"


def test_a_mistake_is_one_line_whatever_a_file_is_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = InputError("no two\nlines\x1b\udcff; give another")
    assert ending_of(monkeypatch, mistake) == 2
    assert capsys.readouterr().err == "multicryogan: no two?lines??; give another\n"


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ending_of(monkeypatch, KeyboardInterrupt()) == 130


def test_sigterm_ends_with_143_once_all_is_cleaned_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cleaned = []

    def command(*arguments: object) -> bool:
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            cleaned.append(True)
        return True

    monkeypatch.setattr("multicryogan.cli.options.open_particles", lambda *_: None)
    monkeypatch.setattr("multicryogan.cli.train.run_training", command)
    assert status(*TRAIN, "--threads", "1") == 143
    assert cleaned == [True]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_sigterm_stays_with_whoever_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert ending_of(monkeypatch, True) == 0
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_command_runs_outside_the_main_thread() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(status, "--version").result() == 0


def test_a_failure_of_the_system_gets_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "a.npz")
    assert ending_of(monkeypatch, error) == 1
    said = capsys.readouterr().err
    assert "write a.npz: No space left on device; look for free space" in said
    assert said.count("\n") == 1


def say_apart(text: str, stdout: str, **environment: str) -> tuple[int, str]:
    """Exit status and stderr of a process whose command prints a text to a file."""
    program = (
        "from multicryogan.cli import app\n"
        f"app.make_app = lambda tokens: lambda *given, **more: print({text!a})\n"
        "app.main([])"
    )
    with open(stdout, "w") as file:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            check=False,
        )
    return done.returncode, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_stdout_gets_one_line() -> None:
    code, said = say_apart("done", "/dev/full", PYTHONUNBUFFERED="")
    assert code == 1
    assert "the output: No space left on device" in said
    assert said.count("\n") == 1


def test_what_a_stream_cannot_say_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    assert say_apart("3 Å", str(out), **environment) == (0, "")
    assert out.read_text("ascii") == "3 ?\n"


def test_an_error_of_the_program_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*arguments: object) -> None:
        raise AssertionError("a defect")

    monkeypatch.setattr("multicryogan.cli.options.open_particles", broken)
    with pytest.raises(AssertionError, match="a defect"):
        main(TRAIN)
