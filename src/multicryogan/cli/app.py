"""The command `multicryogan` and how its settings are put together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import cyclopts
from cyclopts import App, Parameter

from multicryogan import __version__
from multicryogan.cli import options
from multicryogan.cli.assign import assign
from multicryogan.cli.check import check
from multicryogan.cli.compare import compare
from multicryogan.cli.demo import demo
from multicryogan.cli.evaluate import evaluate
from multicryogan.cli.landscape import landscape
from multicryogan.cli.process import (
    BROKEN_RUN,
    INTERRUPTED,
    USER_MISTAKE,
    ending_on_sigterm,
    let_go_of_stdout,
    say_all_that_can_be_said,
)
from multicryogan.cli.refine import refine
from multicryogan.cli.report import report
from multicryogan.cli.simulate import simulate
from multicryogan.cli.train import train
from multicryogan.cli.volumes import volumes
from multicryogan.cli.watch import watch
from multicryogan.config import PAPER_MODE, RunConfig, SimulationConfig
from multicryogan.errors import InputError
from multicryogan.tables import build, merge, mistakes_in, read_toml

HELP = """Recover the shapes of a moving molecule from cryo-EM particle images.

No poses and no classes are needed. Start with: multicryogan demo
"""
# In the order of the help page.
COMMANDS: tuple[Callable[..., int], ...] = (
    demo,
    simulate,
    check,
    train,
    volumes,
    refine,
    assign,
    landscape,
    evaluate,
    report,
    watch,
    compare,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 it broke down, 2 a user's mistake."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    say_all_that_can_be_said()
    try:
        with ending_on_sigterm():
            status = make_app(tokens)(tokens, exit_on_error=False, print_error=False)
        print(end="", flush=True)  # that nothing could be printed shows here
    except cyclopts.CycloptsError as error:
        sys.exit(_complain(f"{_one_line(error)} (see --help)"))
    except InputError as error:
        sys.exit(_complain(str(error)))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        let_go_of_stdout()
        sys.exit(141)
    except OSError as error:
        let_go_of_stdout()
        _complain(
            f"cannot read or write {error.filename or 'the output'}: "
            f"{error.strerror or error}; look for free space, and at its permissions"
        )
        sys.exit(BROKEN_RUN)
    sys.exit(status or 0)


def make_app(tokens: Sequence[str]) -> App:
    """Build the command line; a mode or config file in `tokens` gives defaults."""
    app = App(
        name="multicryogan",
        help=HELP,
        version=__version__,
        default_parameter=Parameter(consume_multiple=True, negative_iterable=()),
    )
    for place, command in enumerate(COMMANDS):
        app.command(command, sort_key=place)
    name = next((t for t in tokens if not t.startswith("-")), "")
    # Below the command's name: at the top, the table [train] would be taken for the
    # command of that name and left out.
    defaults = {name: _kebab(_file_and_mode(name, tokens))}
    app.config = (_refuse_fractions, cyclopts.config.Dict(defaults))
    return app


def _refuse_fractions(
    app: App, commands: tuple[str, ...], arguments: cyclopts.ArgumentCollection
) -> None:
    """Refuse fractions for whole numbers, which would be rounded."""
    del app, commands
    for argument in arguments:
        is_whole = int in (argument.hint, *get_args(argument.hint))
        for token in argument.tokens:
            if is_whole and "." in token.value:
                raise InputError(
                    f"{token.keyword or argument.name} is {token.value}; give a whole "
                    "number"
                )


def _file_and_mode(command: str, tokens: Sequence[str]) -> dict[str, Any]:
    """Values of --config FILE over those of the mode; options given win over both."""
    kinds: dict[str, type] = {
        "check": RunConfig,
        "train": RunConfig,
        "simulate": SimulationConfig,
    }
    if command not in kinds:
        return {}
    file = _value_of("--config", tokens)
    values = read_toml(Path(file)) if file else {}
    with mistakes_in(Path(file or "")):  # an unknown key, and its nearest
        build(kinds[command], values)
    if command == "simulate":
        return values
    mode = _value_of("--mode", tokens) or values.get("mode", "fast")
    return merge(PAPER_MODE if mode == "paper" else {}, values)


def _value_of(option: str, tokens: Sequence[str]) -> str | None:
    """Value of `--option value` or `--option=value`; None without it."""
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token == option:
            return following
        if token.startswith(f"{option}="):
            return token.split("=", 1)[1]
    return None


def _kebab(values: dict[str, Any]) -> dict[str, Any]:
    """Spell keys as options do."""
    return {
        key.replace("_", "-"): _kebab(value) if isinstance(value, dict) else value
        for key, value in values.items()
    }


def _one_line(error: cyclopts.CycloptsError) -> str:
    """Say what was wrong with the command line in one line."""
    return " ".join(str(error).split())


def _complain(message: str) -> int:
    print(f"multicryogan: {options.printable(message)}", file=sys.stderr)
    return USER_MISTAKE
