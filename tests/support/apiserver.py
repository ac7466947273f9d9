"""A real API server in a home directory of its own, kubectl against it, and a stand-in agent."""

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import yaml

from ambimesh.local.home import Home

JsonObject = dict[str, Any]
START_SECONDS = 30
KUBECTL_SECONDS = 60


class Answer:
    """What the server said."""

    def __init__(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data

    @property
    def body(self) -> JsonObject:
        """The answer as an object."""
        decoded: JsonObject = json.loads(self.data)
        return decoded


class Client:
    """HTTP with the credentials of a kubeconfig; one connection for each request."""

    def __init__(self, port: int, token: str, authority: str) -> None:
        self._port = port
        self._token = token
        self._context = ssl.create_default_context(cadata=authority)

    def connect(self, timeout: float = 30) -> http.client.HTTPSConnection:
        """Give a new connection."""
        return http.client.HTTPSConnection(
            "127.0.0.1", self._port, context=self._context, timeout=timeout
        )

    def headers(self, **more: str) -> dict[str, str]:
        """Give the headers of a request."""
        token = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        return {**token, "User-Agent": "tests/1", **more}

    def call(
        self, method: str, path: str, body: object = None, *, content_type: str = "", **headers: str
    ) -> Answer:
        """Send one request and read the answer."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = self.headers(**{"Content-Type": content_type or "application/json"}, **headers)
        connection = self.connect()
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> JsonObject:
        """Read an object that exists."""
        answer = self.call("GET", path)
        assert answer.status == 200, answer.data
        return answer.body

    def create(self, path: str, obj: JsonObject) -> JsonObject:
        """Create an object."""
        answer = self.call("POST", path, obj)
        assert answer.status == 201, answer.data
        return answer.body

    def patch(self, path: str, body: JsonObject) -> JsonObject:
        """Change an object by a merge patch."""
        answer = self.call("PATCH", path, body, content_type="application/merge-patch+json")
        assert answer.status == 200, answer.data
        return answer.body

    @contextmanager
    def watch(self, path: str, timeout: float = 30) -> Iterator[Iterator[JsonObject]]:
        """Open a watch; gives its events as they come."""
        connection = self.connect(timeout)
        try:
            connection.request("GET", path, headers=self.headers())
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield (json.loads(line) for line in response)
        finally:
            connection.close()


class ApiServer:
    """`ambi apiserver` as a process, restarted and killed as a test likes."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self, *options: str, inherited: int | None = None) -> None:
        """Start the server and wait until it serves; on the same port after a restart."""
        program = "from ambimesh.cli.main import main; main()"
        command = [sys.executable, "-c", program, "apiserver", "--home", str(self.home.root)]
        with (self._folder / "apiserver.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--listen", f"127.0.0.1:{self.port}", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=() if inherited is None else (inherited,),
            )
        assert self._process.stdout is not None
        watchdog = threading.Timer(START_SECONDS, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline().decode()
        watchdog.cancel()
        assert line.startswith("READY https://127.0.0.1:"), self.log()
        self.port = int(line.rpartition(":")[2])

    def log(self) -> str:
        """Give what the server has written to standard error."""
        return (self._folder / "apiserver.log").read_text()

    def kill(self) -> None:
        """End the server without a chance to tidy up."""
        assert self._process is not None
        self._process.kill()
        self._reap()

    def stop(self) -> int:
        """End the server as the supervisor does; gives its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> int:
        assert self._process is not None
        code = self._process.wait(START_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        return code

    def close(self) -> None:
        """End what still runs."""
        if self._process is not None:
            self.kill()

    def client(self, kubeconfig: Path | None = None, token: str | None = None) -> Client:
        """Give a client with the credentials of a kubeconfig (the administrator's), or a token."""
        config = yaml.safe_load((kubeconfig or self.home.kubeconfig).read_text())
        own = str(config["users"][0]["user"]["token"])
        authority = (self.home.api / "ca.crt").read_text()
        return Client(self.port, own if token is None else token, authority)

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run kubectl as the administrator; with a cache of its own, which is per port."""
        done = subprocess.run(
            [*self.kubectl_command(), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=KUBECTL_SECONDS,
            check=False,
            env={**os.environ, **environment},
        )
        if check:
            told = f"kubectl {' '.join(arguments)}: {done.stdout}\n{done.stderr}\n{self.log()}"
            assert done.returncode == 0, told
        return done

    def kubectl_command(self) -> list[str]:
        """Give the beginning of a kubectl command line."""
        program = shutil.which("kubectl")
        assert program, "kubectl is not installed: these tests need it"
        cache = self._folder / "kubectl-cache"
        return [program, f"--kubeconfig={self.home.kubeconfig}", f"--cache-dir={cache}"]


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[ApiServer]:
    """Run a server for the length of a test."""
    server = ApiServer(folder)
    try:
        server.start(*options)
        yield server
    finally:
        server.close()


READY_NODE: JsonObject = {
    "status": {
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "message": "stand-in",
                "lastHeartbeatTime": "2026-01-01T00:00:00Z",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ]
    }
}


class FakeAgent:
    """Says of every pod that it runs and is ready, and lets it go when it is deleted."""

    def __init__(self, client: Client, *nodes: str) -> None:
        self._client = client
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._numbers = iter(range(10, 250))
        self._connection = client.connect(timeout=300)
        for node in nodes:
            client.create("/api/v1/nodes", {"metadata": {"name": node}})
            client.patch(f"/api/v1/nodes/{node}/status", READY_NODE)

    def __enter__(self) -> Self:
        path = "/api/v1/pods?watch=true&fieldSelector=spec.nodeName!="
        self._connection.request("GET", path, headers=self._client.headers())
        self._response = self._connection.getresponse()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._connection.sock is not None
        self._connection.sock.shutdown(2)
        self._thread.join(10)
        self._connection.close()

    def _run(self) -> None:
        try:
            for line in self._response:
                event = json.loads(line)
                if event["type"] != "DELETED":
                    self._see(event["object"])
        except (OSError, http.client.HTTPException, ValueError):
            return

    def _see(self, pod: JsonObject) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        if "deletionTimestamp" in metadata:
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
            self._client.call("DELETE", path, options)
        elif pod["status"].get("phase") != "Running":
            self._client.call(
                "PATCH",
                f"{path}/status",
                running(pod, f"198.18.1.{next(self._numbers)}"),
                content_type="application/merge-patch+json",
            )


def running(pod: JsonObject, address: str) -> JsonObject:
    """Give a patch that says a pod runs and is ready."""
    now = "2026-01-01T00:00:00Z"
    return {
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}, {"ip": f"fd98:616d:6269:1::{address.rpartition('.')[2]}"}],
            "startTime": now,
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "ready": True,
                    "restartCount": 0,
                    "image": container.get("image", ""),
                    "imageID": "",
                    "state": {"running": {"startedAt": now}},
                }
                for container in pod["spec"]["containers"]
            ],
        }
    }
