"""What the documents name exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "multicryogan"
CONVENTIONS = (ROOT / "docs" / "conventions.md").read_text()
METHOD = (ROOT / "docs" / "method.md").read_text()
TESTS = sorted(set(re.findall(r"`(test_\w+)`", CONVENTIONS)))
FUNCTIONS = sorted(set(re.findall(r"`([a-z_]+(?:\.\w+)+)`", METHOD)))
FILES = sorted(set(re.findall(r"`((?:configs|tests|docs)/[\w./-]+)`", METHOD)))


def existing_tests() -> set[str]:
    text = "\n".join(p.read_text() for p in (ROOT / "tests").rglob("test_*.py"))
    return set(re.findall(r"^def (test_\w+)", text, re.MULTILINE))


def defined_in(path: Path) -> set[str]:
    """Names of functions, classes and methods (Class.method) of a module."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{method.name}"
                for method in node.body
                if isinstance(method, ast.FunctionDef)
            }
    return names


def test_every_test_that_pins_a_convention_exists() -> None:
    assert [name for name in TESTS if name not in existing_tests()] == []


def test_conventions_name_many_tests() -> None:
    assert len(TESTS) > 50


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_of_the_method_exists(function: str) -> None:
    words = function.split(".")
    modules = [SOURCE.joinpath(*words[:i]).with_suffix(".py") for i in range(1, 4)]
    found = [(i, m) for i, m in enumerate(modules, start=1) if m.is_file()]
    assert found, function
    length, module = found[0]
    assert ".".join(words[length:]) in defined_in(module)


@pytest.mark.parametrize("file", FILES)
def test_every_file_of_the_method_exists(file: str) -> None:
    assert (ROOT / file).is_file()
