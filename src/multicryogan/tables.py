"""Nested tables: TOML files and the config dataclasses they become."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from multicryogan.errors import InputError

T = TypeVar("T")
KINDS: dict[type, Any] = {
    float: Real,
    int: Integral,
    str: (str, Path),
    Path: (str, Path),
}


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay nested tables over others; neither is changed."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        result[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return result


def read_toml(path: Path) -> dict[str, Any]:
    """Read nested tables from a TOML file."""
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no config file {path}; check the path") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} is not a readable TOML file: {error}") from None


@contextmanager
def mistakes_in(path: Path) -> Iterator[None]:
    """Name the file that values come from in what is said of them."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_toml(path: Path, config: Any) -> None:  # noqa: ANN401
    """Write a config dataclass with every value it was resolved to."""
    import tomli_w

    path.write_text(tomli_w.dumps(to_dict(config)), encoding="utf-8")


def to_dict(config: Any) -> dict[str, Any]:  # noqa: ANN401
    """Turn a config dataclass into nested tables of plain values.

    TOML has no None: what is not set is left out.
    """

    def given(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in pairs if value is not None}

    return dataclasses.asdict(config, dict_factory=given)


def check_finite(config: Any, but: Collection[str] = ()) -> None:  # noqa: ANN401
    """Refuse a config in which a number is infinite, or none at all.

    Args:
        config: A config dataclass.
        but: Names of fields that may be infinite.

    Raises:
        InputError: Of the first such number, with its name.
    """
    for name, value in _floats(to_dict(config)):
        if not math.isfinite(value) and name not in but:
            raise InputError(f"{name} is {value}; give a finite number")


def _floats(value: Any, name: str = "") -> Iterator[tuple[str, float]]:  # noqa: ANN401
    """Yield every float of nested tables and lists with its name."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _floats(below, f"{name}.{key}" if name else key)
    elif isinstance(value, list | tuple):
        for i, below in enumerate(value):
            yield from _floats(below, f"{name}[{i}]")
    elif isinstance(value, float):
        yield name, value


def checked(config: T) -> T:
    """Check a config dataclass that was made in Python as one from a file is.

    Returns:
        The same with plain values: numbers of NumPy become Python's, paths text.

    Raises:
        InputError: As of `build`.
    """
    return build(type(config), dataclasses.asdict(config))  # type: ignore[call-overload]


def build(cls: type[T], values: dict[str, Any], where: str = "") -> T:
    """Construct a config dataclass from nested tables; unknown keys are errors.

    Raises:
        InputError: A key is unknown (the nearest one is named) or a value has the
            wrong type or is not one of the choices.
    """
    hints = get_type_hints(cls)
    kwargs = {}
    for name, value in values.items():
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            known = ", ".join(hints)
            hint = f"did you mean {where}{near[0]}?" if near else f"there are {known}"
            raise InputError(f"unknown config key {where}{name}; {hint}")
        kwargs[name] = _convert(hints[name], value, f"{where}{name}")
    return cls(**kwargs)


def _convert(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    """Check a value against its annotation; lists become tuples."""
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise InputError(f"config {where}: expected a table, got {value!r}")
        return build(hint, value, f"{where}.")  # type: ignore[arg-type]
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"config {where}: {value!r} is not one of {arguments}")
        return value
    if origin in (Union, types.UnionType):  # a value or None, which no file holds
        return None if value is None else _convert(arguments[0], value, where)
    if origin is tuple:
        return _convert_tuple(arguments, value, where)
    kinds = KINDS.get(hint, hint)
    if not isinstance(value, kinds) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"config {where}: expected {hint.__name__}, got {value!r}")
    return hint(value)


def _convert_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> Any:  # noqa: ANN401
    """Check a list, of a fixed length or of any."""
    if not isinstance(value, list | tuple):
        raise InputError(f"config {where}: expected a list, got {value!r}")
    if arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise InputError(
            f"config {where}: expected {len(arguments)} values, got {len(value)}"
        )
    pairs = zip(arguments, value, strict=True)
    return tuple(_convert(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(pairs))
