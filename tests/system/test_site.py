"""The documents as a site: they build without a warning, so that every link leads."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))


def build(documents: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    return subprocess.run(
        [*command, str(documents), str(site)], capture_output=True, text=True
    )


@pytest.mark.slow
def test_the_site_builds_and_a_link_that_leads_nowhere_stops_it(tmp_path: Path) -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    documents, site = tmp_path / "docs", tmp_path / "site"
    for name in ("docs", "install"):
        shutil.copytree(ROOT / name, tmp_path / name)
    built = build(documents, site)
    assert built.returncode == 0, built.stderr
    assert [name for name in PAGES if not (site / f"{name}.html").is_file()] == []
    front = (site / "index.html").read_text()
    assert "make demo" in front
    assert "_images/demo.png" in front
    assert "--latent.kind" in (site / "commands.html").read_text()
    python = (site / "api.html").read_text()
    assert "multicryogan.api.train" in python
    assert "Working box in pixels: images are" in python  # no type before a colon

    page = documents / "tutorial.md"
    page.write_text(page.read_text() + "\n[nowhere](results.md#no-such-heading)\n")
    broken = build(documents, site)
    assert broken.returncode != 0
    assert "no-such-heading" in broken.stderr
