"""kill -9 and full disks under writers: what was acknowledged is there, nothing else is said."""

import http.client
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.apiserver import ApiServer, Client, serving

pytestmark = pytest.mark.chaos

MAPS = "/api/v1/namespaces/default/configmaps"
WRITERS = 8


class _Writer:
    """Creates, changes and deletes its own objects; remembers what was acknowledged."""

    def __init__(self, client: Client, number: int) -> None:
        self._client = client
        self._number = number
        self.known: dict[str, str] = {}  # name to text, as last acknowledged
        self.unsure: set[str] = set()  # asked for, and no answer came

    def run(self, limit: int) -> int:
        """Write until the server goes away; gives how many writes were acknowledged."""
        connection, done = self._client.connect(), 0
        try:
            while done < limit:
                self._step(connection, done)
                done += 1
        except (OSError, http.client.HTTPException):
            return done
        finally:
            connection.close()
        return done

    def _step(self, connection: http.client.HTTPSConnection, step: int) -> None:
        name = f"w{self._number}-{step // 3}"
        body = {"metadata": {"name": name}, "data": {"step": str(step)}}
        self.unsure.add(name)
        if step % 3 == 0:
            self._send(connection, "POST", MAPS, body)
            self.known[name] = str(step)
        elif step % 3 == 1:
            self._send(connection, "PUT", f"{MAPS}/{name}", body)
            self.known[name] = str(step)
        elif step % 2:
            self._send(connection, "DELETE", f"{MAPS}/{name}", None)
            del self.known[name]
        self.unsure.discard(name)

    def _send(
        self, connection: http.client.HTTPSConnection, method: str, path: str, body: object
    ) -> None:
        data = json.dumps(body).encode() if body else b""
        connection.request(method, path, data, self._client.headers())
        response = connection.getresponse()
        said = response.read()
        assert response.status in (200, 201), said


@pytest.mark.parametrize("limit", [40, 150, 400])
def test_kill_loses_nothing_acknowledged(tmp_path: Path, limit: int) -> None:
    """Eight writers, a kill in the middle, and every answer was true."""
    with serving(tmp_path) as server:
        client = server.client()
        writers = [_Writer(client, number) for number in range(WRITERS)]
        killer = threading.Thread(target=_kill_when, args=(server, client, limit))
        killer.start()
        with ThreadPoolExecutor(WRITERS) as pool:
            done = sum(pool.map(lambda writer: writer.run(10_000), writers))
        killer.join()

        server.start()

        listed = client.get(MAPS)["items"]
        found = {item["metadata"]["name"]: item["data"]["step"] for item in listed if "data" in item
                 and item["metadata"]["name"].startswith("w")}  # fmt: skip
        assert done >= limit
        for writer in writers:
            for name, step in writer.known.items():
                if name not in writer.unsure:
                    assert found.get(name) == step
            gone = {name for name in found if name.startswith(f"w{writer._number}-")}
            assert gone <= writer.known.keys() | writer.unsure


def _kill_when(server: ApiServer, client: Client, limit: int) -> None:
    """Watch until enough has been written, then kill."""
    seen = 0
    with client.watch(f"{MAPS}?watch=true") as events:
        for _ in events:
            seen += 1
            if seen >= limit + 1:
                break
    server.kill()


def test_kill_keeps_versions_going_up(tmp_path: Path) -> None:
    """A restart never gives a version twice: watchers can go on from what they know."""
    with serving(tmp_path) as server:
        client = server.client()
        before = client.create(MAPS, {"metadata": {"name": "a"}})["metadata"]["resourceVersion"]
        server.kill()
        server.start()
        after = client.create(MAPS, {"metadata": {"name": "b"}})["metadata"]["resourceVersion"]

        with client.watch(f"{MAPS}?watch=true&resourceVersion={before}") as events:
            event = next(events)

    assert int(after) > int(before)
    assert event["type"] in ("ADDED", "ERROR")


def test_stop_ends_watches_and_exits_well(tmp_path: Path) -> None:
    """A graceful stop ends watches cleanly and leaves with code 0."""
    with serving(tmp_path) as server:
        version = server.client().get(MAPS)["metadata"]["resourceVersion"]
        with server.client().watch(f"{MAPS}?watch=true&resourceVersion={version}") as events:
            code = server.stop()
            rest = list(events)

    assert code == 0
    assert rest == []


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.fail("this test mounts a tmpfs and needs root")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_full_disk_refuses_clearly_and_recovers(tmp_path: Path) -> None:
    """Writes are refused with the cause, reads go on, and with room writes go on too."""
    with _small_disk(tmp_path / "disk", "6m") as folder, serving(folder) as server:
        client = server.client()
        client.create(MAPS, {"metadata": {"name": "before"}, "data": {"x": "1"}})
        ballast = folder / "ballast"
        _fill(ballast)

        refused = client.call(
            "POST", MAPS, {"metadata": {"name": "lost"}, "data": {"x": "y" * 200_000}}
        )
        by_kubectl = server.kubectl(
            "create", "cm", "lost2", f"--from-literal=x={'y' * 100_000}", check=False
        )
        absent = client.call("GET", f"{MAPS}/lost")
        still = client.get(f"{MAPS}/before")
        ballast.unlink()
        saved = client.call("POST", MAPS, {"metadata": {"name": "lost"}, "data": {"x": "2"}})
        server.kill()
        server.start()
        after = client.get(f"{MAPS}/lost")

    assert refused.status == 507
    assert "the change was not saved and is undone" in refused.body["message"]
    assert "full" in refused.body["message"]
    assert "disk is full" in by_kubectl.stderr
    assert absent.status == 404
    assert still["data"] == {"x": "1"}
    assert saved.status == 201
    assert after["data"] == {"x": "2"}


def _fill(path: Path) -> None:
    """Take all the room that there is."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_inherited_sockets_are_served_beside_own_ones(tmp_path: Path) -> None:
    """The supervisor's socket is the one that people use; others serve the same."""
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        os.set_inheritable(inherited.fileno(), True)
        server = ApiServer(tmp_path)
        try:
            server.start("--listen-fd", str(inherited.fileno()), inherited=inherited.fileno())
            admin = server.home.kubeconfig.read_text()
            own = server.client().get(MAPS)["kind"]
        finally:
            server.close()

        assert server.port == inherited.getsockname()[1]
        assert f"https://127.0.0.1:{server.port}" in admin
        assert own == "ConfigMapList"


def test_second_server_in_the_same_home_is_refused(tmp_path: Path) -> None:
    """One clear error with its code; the first one goes on."""
    with serving(tmp_path) as server:
        second = ApiServer(tmp_path)
        with pytest.raises(AssertionError, match="AMB0301"):
            second.start()
        second.close()

        assert server.client().get(MAPS)["kind"] == "ConfigMapList"


def test_port_in_use_is_refused(tmp_path: Path) -> None:
    """One clear error with its code and the address."""
    with serving(tmp_path) as server:
        other = ApiServer(tmp_path / "other")
        (tmp_path / "other").mkdir()
        other.port = server.port
        with pytest.raises(AssertionError, match=rf"AMB0302.*127\.0\.0\.1:{server.port}"):
            other.start()
        other.close()
