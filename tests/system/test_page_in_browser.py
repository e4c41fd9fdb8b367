"""The report page in a real browser: from disk, offline, without an error."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multicryogan.report.page import write_report
from report_data import BOX, CONFORMATIONS, VOXEL_SIZE, assigned, landscaped, refined

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# As root in a container, without a GPU, silent towards its maker's servers.
FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
)
PATIENCE = 60_000  # ms
MESH = "document.getElementById('surface').data[0]"


class Browser:
    """A page that is open, and all that it said and asked for."""

    def __init__(self, page, file: Path) -> None:  # noqa: ANN001
        """Open a file."""
        self.page, self.said, self.asked = page, [], []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(file.as_uri())
        self.wait("document.body.dataset.ready === '1'")

    def _hear(self, message) -> None:  # noqa: ANN001
        if message.type == "error":
            self.said.append(message.text)

    def wait(self, claim: str) -> None:
        """Wait until a claim is true."""
        self.page.wait_for_function(claim, timeout=PATIENCE)

    def tell(self, what: str) -> object:
        """Evaluate an expression."""
        return self.page.evaluate(what)

    def wait_for_another_mesh(self, before: object) -> None:
        """Wait until the surface is not what it was."""
        self.wait(f"{self.mesh_sum} !== {before}")

    mesh_sum = f"{MESH}.x.reduce((sum, x, i) => sum + x * (i % 7 + 1), 0)"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of folders of refine, assign and landscape, with hostile text."""
    folder = tmp_path_factory.mktemp("page")
    parts = [refined(folder / "refined"), assigned(folder / "assigned")]
    parts.append(landscaped(folder / "landscape"))
    return write_report(parts, folder / "report.html")


@contextmanager
def chromium(*flags: str) -> Iterator[Any]:
    """Chromium with the network off."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser ({', '.join(BROWSERS)}): install Debian's chromium")
    with api.sync_playwright() as started:
        program = started.chromium.launch(executable_path=found, args=[*FLAGS, *flags])
        yield program.new_context(offline=True, viewport={"width": 1280, "height": 800})
        program.close()


@pytest.fixture
def browser(file: Path) -> Iterator[Browser]:
    """The page, opened."""
    with chromium() as context:
        yield Browser(context.new_page(), file)


def test_the_page_works_from_disk_and_asks_for_nothing(
    browser: Browser, file: Path
) -> None:
    first = browser.tell(browser.mesh_sum)
    browser.page.locator("#axis0").focus()
    browser.page.keyboard.press("End")
    browser.wait(f"window.report.selected() === {CONFORMATIONS - 1}")
    browser.wait_for_another_mesh(first)
    browser.tell("window.scrollTo(0, document.body.scrollHeight)")
    browser.wait("document.querySelectorAll('.js-plotly-plot').length >= 5")
    assert browser.said == []
    assert browser.asked == [file.as_uri()]
    assert browser.page.title() != "hacked"


def test_the_surface_is_where_the_density_is(browser: Browser) -> None:
    reach = browser.tell(f"Math.max(...{MESH}.x.map(Math.abs))")
    assert isinstance(reach, float)
    # Body and arm reach 9 of 32 voxels from the centre, and a blob of 1.2 beyond.
    assert 8 * VOXEL_SIZE < reach < 0.5 * BOX * VOXEL_SIZE
    level = browser.tell("window.report.level()")
    browser.page.locator("#level").focus()
    before = browser.tell(browser.mesh_sum)
    for _ in range(10):
        browser.page.keyboard.press("ArrowRight")
    browser.wait_for_another_mesh(before)
    assert browser.tell("window.report.level()") > level  # type: ignore[operator]
    tighter = browser.tell(f"Math.max(...{MESH}.x.map(Math.abs))")
    assert tighter < reach  # type: ignore[operator]


CAMERA = "document.querySelector('#surface').layout.scene.camera"


def eye(browser: Browser) -> np.ndarray:
    """Where the surface is seen from."""
    seen = browser.tell(f"['x', 'y', 'z'].map((axis) => {CAMERA}.eye[axis])")
    return np.array(seen)


def test_keys_turn_and_zoom_the_surface(browser: Browser) -> None:
    browser.page.locator("[data-view=y]").click()  # seen from -y: x to the right, z up
    browser.page.locator("#surface").focus()
    start, press = eye(browser), browser.page.keyboard.press
    place = browser.tell("window.scrollY")
    np.testing.assert_allclose(start / np.linalg.norm(start), [0, -1, 0], atol=1e-6)
    distance, step = np.linalg.norm(start), np.radians(10)
    press("ArrowRight")  # what is in front goes right: the camera goes left
    aside = distance * np.array([-np.sin(step), -np.cos(step), 0])
    np.testing.assert_allclose(eye(browser), aside, atol=1e-6)
    press("ArrowLeft")
    press("ArrowUp")  # what is in front goes up: the camera goes down
    below = distance * np.array([0, -np.cos(step), -np.sin(step)])
    np.testing.assert_allclose(eye(browser), below, atol=1e-6)
    press("+")
    np.testing.assert_allclose(eye(browser), 0.9 * below, atol=1e-6)
    press("-")
    for _ in range(35):  # over the poles, and back
        press("ArrowUp")
    np.testing.assert_allclose(eye(browser), start, atol=1e-5)
    assert browser.tell("window.scrollY") == place  # the page stays
    assert browser.said == []


def test_play_goes_on_and_stops(browser: Browser) -> None:
    button = browser.page.locator(".play").first
    start = browser.tell("window.report.selected()")
    button.click()
    browser.wait(f"window.report.selected() !== {start}")
    button.click()
    assert button.inner_text() == "Play"


@pytest.mark.parametrize("figure", ["landscape-0", "states-0"])
def test_a_click_in_the_landscape_selects(browser: Browser, figure: str) -> None:
    place = f"[data-figure={figure}]"
    browser.page.locator(place).scroll_into_view_if_needed()
    browser.wait(f"document.querySelector('{place} .points path') !== null")
    dots = browser.page.locator(f"{place} .points path")
    dots.nth(1).hover(force=True)
    dots.nth(1).click(force=True)
    browser.wait("window.report.selected() === 1")
    traces = f"document.querySelector('{place}').data"
    ring = f"{traces}.at(-1)"
    point = f"{traces}.find((one) => one.customdata?.includes(1))"
    browser.wait(f"{ring}.x[0] === {point}.x[{point}.customdata.indexOf(1)]")
    assert browser.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_follows_the_colours_of_the_system(browser: Browser, scheme: str) -> None:
    browser.page.emulate_media(color_scheme=scheme)
    browser.wait(f"document.documentElement.dataset.theme === '{scheme}'")
    style = "getComputedStyle(document.body)"
    light = [
        sum(map(int, str(browser.tell(f"{style}.{name}"))[4:-1].split(",")))
        for name in ("color", "backgroundColor")
    ]
    assert (light[0] < light[1]) == (scheme == "light")


def test_without_3d_the_rest_of_the_page_works(file: Path) -> None:
    with chromium("--disable-3d-apis") as context:
        browser = Browser(context.new_page(), file)
        assert "no WebGL" in browser.page.locator("#surface").inner_text()
        assert browser.page.locator(".controls").is_hidden()
        browser.page.locator("[data-figure=landscape-0]").scroll_into_view_if_needed()
        browser.wait("document.querySelector('[data-figure=landscape-0] .points')")
        assert browser.said == []


def test_space_on_the_level_plays_nothing(browser: Browser) -> None:
    browser.page.locator("#level").focus()
    browser.page.keyboard.press("Space")
    assert browser.page.locator(".play").first.inner_text() == "Play"
    browser.page.locator("#axis0").focus()
    browser.page.keyboard.press("Space")
    assert browser.page.locator(".play").first.inner_text() == "Pause"
