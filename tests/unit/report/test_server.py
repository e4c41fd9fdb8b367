"""The page of work that goes on: for this machine and whoever has its address."""

import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from multicryogan.cli.watch import watch
from multicryogan.errors import InputError
from multicryogan.report.server import LOOPBACK, PageServer
from report_data import refined, verdict, write_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return refined(tmp_path / "refined")


@pytest.fixture
def server(folder: Path) -> Iterator[PageServer]:
    with PageServer([folder]) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def get(server: PageServer, path: str, host: str | None = None) -> tuple[int, str]:
    connection = HTTPConnection(LOOPBACK, server.server_port, timeout=60)
    name = host or f"{LOOPBACK}:{server.server_port}"
    connection.request("GET", path, headers={"Host": name})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_the_page_is_served_at_its_address_alone(server: PageServer) -> None:
    status, text = get(server, f"/{server.token}/")
    assert status == 200
    assert 'id="explorer"' in text
    for path in ("/", f"/{server.token}", f"/{server.token}/refine.json", "/x/"):
        assert get(server, path)[0] == 404
    assert len(server.token) >= 32


def test_only_this_machine_is_served(server: PageServer) -> None:
    assert server.server_address[0] == LOOPBACK
    # A page elsewhere that has its name point to this machine.
    assert get(server, f"/{server.token}/", host="evil.example")[0] == 404


def test_the_page_grows_with_its_folder(server: PageServer, folder: Path) -> None:
    path = f"/{server.token}/"
    before = get(server, path)[1]
    assert get(server, path)[1] == before
    write_json(folder / "verdict.json", verdict(is_sound=False))
    assert "not sound" in get(server, path)[1]


def test_a_run_that_has_just_begun_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "<b>run").mkdir()
    with PageServer([tmp_path / "<b>run"]) as server:
        text = server.page()
    assert "Nothing to show yet" in text
    assert "&lt;b&gt;run" in text


def test_other_servers_have_other_tokens(folder: Path) -> None:
    with PageServer([folder]) as one, PageServer([folder]) as other:
        assert one.token != other.token
        with pytest.raises(InputError, match="give another --port"):
            PageServer([folder], one.server_port)


@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
def test_a_port_that_is_none_is_refused(folder: Path, port: int) -> None:
    with pytest.raises(InputError, match=rf"--port is {port}; give 0 \(any\) to 65535"):
        PageServer([folder], port)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        watch([tmp_path / "none"])
