"""Programs that are not ours talk through the mesh exactly as they do without it."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.running_mesh import Program, RunningMesh
from support.server_programs import WEBSOCKET_PEER, Servers, lines, shell

pytestmark = [pytest.mark.lab, pytest.mark.interop]

CURL = "curl -sS --fail -o {out} -w '%{{http_version}} %{{http_code}} %{{size_download}}\\n'"
SUM = "sha256sum < {out}"
TLS = "--cacert {folder}/certificate.pem --connect-to server.test:8443:{nginx}:8443"
SQL = "CREATE DATABASE IF NOT EXISTS d; SELECT REPEAT(CHAR(97), 200000), 6 * 7;"
REDIS = lines("SET k v", "GET k", "LPUSH l 1 2 3", "LRANGE l 0 -1", "DEL l")

# What to run in the client's pod, and something that its output must have.
CONVERSATIONS = {
    "http-1.0": (f"{CURL} --http1.0 http://{{nginx}}:8080/file && {SUM}", "200 3000000"),
    "http-1.1": (f"{CURL} --http1.1 http://{{nginx}}:8080/file && {SUM}", "1.1 200 3000000"),
    "http-2-cleartext": (
        f"{CURL} --http2-prior-knowledge http://{{nginx}}:8081/file && {SUM}", "2 200 3000000"),
    "http-2": (f"{CURL} --http2 {TLS} https://server.test:8443/file && {SUM}", "2 200 3000000"),
    "http-2-streams": (
        (f"{CURL} --http2 --parallel {TLS} https://server.test:8443/file "
        "-o {out}.2 https://server.test:8443/file && sha256sum < {out}.2"), "2 200 3000000"),
    "tls": (
        (f"(printf '{lines('hello', 'CLOSE')}') | openssl s_client -quiet -connect "
        "{openssl}:4433 -CAfile {folder}/certificate.pem -verify_return_error "
        "-servername server.test 2>/dev/null"), "olleh"),
    "websocket": ("{python} -E {websocket_peer} talk {websocket} 9000", '"intact": true'),
    "mariadb": (
        f"mariadb --no-defaults -h {{mariadb}} -u lab -plab --skip-ssl -N -e '{SQL}' | sha256sum",
        "-"),
    "redis": (f"printf '{REDIS}' | redis-cli -h {{redis}}", "OK\nv\n3\n3\n2\n1\n1"),
    "redis-pipe": (
        ("for i in $(seq 5000); do printf 'SET key:%d value%d\\r\\n' $i $i; done | "
        "redis-cli -h {redis} --pipe | tail -1"), "errors: 0, replies: 5000"),
    "postgresql": (
        ("psql -h {postgres} -U postgres -At -c "
        "'SELECT sum(n), md5(string_agg(n::text, chr(44))) FROM generate_series(1,100000) n'"),
        "5000050000"),
    "half-close": ("nc -N -w 20 {checksum} 7000 < {folder}/file", "  -"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rig:
    """Servers on node-1 and a client on node-2."""

    mesh: RunningMesh
    namespace: str
    folder: Path

    def talk(self, name: str) -> str:
        """Hold a conversation; give all that the client's program said."""
        hosts = {pod: both[0] for pod, both in self.mesh.addresses(self.namespace).items()}
        script = CONVERSATIONS[name][0].format(
            **hosts, folder=self.folder, out=self.folder / "out", python=sys.executable,
            websocket_peer=WEBSOCKET_PEER,
        )  # fmt: skip
        return self.mesh.exec(self.namespace, "client", *shell(script))


@pytest.fixture(scope="module")
def direct() -> dict[str, str]:
    """What each conversation gives without the mesh; filled before anything is captured."""
    return {}


@pytest.fixture(scope="module")
def rig(
    mesh: RunningMesh, make_namespace: Callable[[], str], direct: dict[str, str]
) -> Iterator[Rig]:
    """Run the servers and the client, talk without the mesh, then capture them."""
    with tempfile.TemporaryDirectory(prefix="ambimesh-programs-") as folder:
        made = Rig(mesh, make_namespace(), Path(folder))
        servers = Servers(made.folder).programs("node-1")
        mesh.run_pods(made.namespace, *servers, Program(name="client", node="node-2"))
        direct |= {name: made.talk(name) for name in CONVERSATIONS}
        mesh.capture(made.namespace, "client", *(server.name for server in servers))
        mesh.until(lambda: _is_logged(made, "http-1.1"))
        yield made
        mesh.kubectl("delete", "namespace", made.namespace)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_program_talks_as_without_the_mesh(rig: Rig, direct: dict[str, str], name: str) -> None:
    """Issue 3, 4: the same output, through a tunnel that the server's proxy logged."""
    before = len(rig.mesh.access_log("node-1"))

    said = rig.talk(name)

    assert said == direct[name]
    assert CONVERSATIONS[name][1] in said
    own = f"spiffe://cluster.local/ns/{rig.namespace}/sa/client"
    rig.mesh.until(lambda: any(own in line for line in rig.mesh.access_log("node-1")[before:]))


def _is_logged(rig: Rig, name: str) -> bool:
    before = len(rig.mesh.access_log("node-1"))
    rig.talk(name)
    return len(rig.mesh.access_log("node-1")) > before
