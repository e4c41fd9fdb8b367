"""What `pip install` gets: the package, its licence and the page's assets, no more."""

from pathlib import Path

import pytest

from wheels import built_wheel

ROOT = Path(__file__).parents[2]
SCRIPTS = {"page.js", "theme.js", "explorer.js", "camera.js", "surface.js"}
ASSETS = {"page.html", "page.css", *SCRIPTS}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Files of the wheel, built from the files that git knows."""
    return built_wheel(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_module_and_asset(names: set[str]) -> None:
    modules = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src").rglob("*.py")
    }
    assert modules <= names
    assert {f"multicryogan/report/assets/{name}" for name in ASSETS} <= names
    assert "multicryogan/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_holds_nothing_else(names: set[str]) -> None:
    package = {name for name in names if name.startswith("multicryogan/")}
    kinds = {Path(name).suffix for name in package}
    assert kinds == {".py", ".typed", ".html", ".css", ".js"}
    rest = {name.split("/")[0] for name in names - package}
    assert len(rest) == 1
    assert rest.pop().endswith(".dist-info")
