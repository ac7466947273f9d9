"""``ambi demo``: show the mesh at work, step by step, each step checked."""

import asyncio
import hashlib
import os
import re
import signal
import subprocess
from pathlib import Path

import click

from ambimesh.cli.mesh_options import find_home, home_option
from ambimesh.cli.narrator import CheckFailedError, Narrator, person_environment
from ambimesh.diagnostics.problem import ExitCode
from ambimesh.local.home import Home
from ambimesh.local.init.client import InitClient
from ambimesh.local.link_capture import Segment, read_segments
from ambimesh.local.link_watch import recorded
from ambimesh.local.machine import FABRIC

NAMESPACE = "demo"
PORT = 8080
HBONE_PORT = 15008
DOWNLOAD_BYTES = 24 << 20
MARKER = "a-secret-that-must-not-be-seen"
STEPS = 9

DENY = f"""\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: deny-client
  namespace: {NAMESPACE}
spec:
  action: DENY
  rules:
  - from:
    - source:
        principals: ["cluster.local/ns/{NAMESPACE}/sa/client"]
"""
SERVICE = f"""\
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: {NAMESPACE}
spec:
  selector:
    app: web
  ports:
  - port: {PORT}
"""


@click.command("demo")
@click.option("--once", is_flag=True, help="Take everything down again at the end.")
@home_option
def command(once: bool, home: Path | None) -> int:
    """Show the mesh at work with two untouched programs on two nodes.

    Every step is a check that can fail; the first that does ends the demonstration with exit
    code 1. Without --once the mesh is left running.
    """
    place = find_home(home)
    environment = person_environment(str(place.root), str(place.kubeconfig))
    demo = Demo(place, Narrator(environment=environment, steps=STEPS))
    try:
        demo.play()
    except CheckFailedError as failure:
        click.secho(f"\nfailed: {failure}", fg="red", err=True)
        click.echo(f"logs are in {place.log}", err=True)
        return ExitCode.FINDINGS
    finally:
        demo.stop_background()
        if once:
            demo.narrator.run("ambi", "down", expect=None)
    demo.say_goodbye(left_running=not once)
    return ExitCode.OK


class Demo:
    """The steps in their order; each leaves what the next needs."""

    def __init__(self, home: Home, narrator: Narrator) -> None:
        self.narrator = narrator
        self._home = home
        self._folder = home.root / "demo"
        self._download: subprocess.Popen[str] | None = None

    def play(self) -> None:
        """Show every step."""
        self._start_mesh()
        self._start_programs()
        self._show_plaintext()
        self._capture()
        self._show_encryption()
        self._show_identities()
        self._deny_and_allow()
        self._show_metrics()
        self._lose_control_plane()

    def stop_background(self) -> None:
        """End the download if a failed step left it behind."""
        if self._download and self._download.poll() is None:
            self._download.kill()
            self._download.wait()

    def say_goodbye(self, *, left_running: bool) -> None:
        """Tell how it went and what to try next."""
        click.secho(f"\nall {STEPS} steps hold, {self.narrator.total():.1f}s in all", bold=True)
        if left_running:
            click.echo(
                "the mesh is left running; try:\n"
                "  export KUBECONFIG=$(ambi kubeconfig)\n"
                "  kubectl get pods,svc -A\n"
                f"  ambi exec -n {NAMESPACE} client -- curl -s http://web.{NAMESPACE}:{PORT}/\n"
                "  ambi status\n"
                "  ambi down"
            )

    # -- steps -----------------------------------------------------------------------------

    def _start_mesh(self) -> None:
        self.narrator.step("start a mesh with two nodes on this machine")
        self.narrator.run("ambi", "down", shown=False, expect=None)
        self.narrator.run("ambi", "up", "--detach", "--nodes", "2")
        nodes = self.narrator.run("kubectl", "get", "nodes")
        ready = [line.split()[0] for line in nodes.splitlines() if " Ready " in line]
        self.narrator.check("two nodes are ready", holds=len(ready) == 2, seen=nodes)
        self.narrator.run(
            "kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", shown=False
        )  # fmt: skip

    def _start_programs(self) -> None:
        self.narrator.step("start two programs that know nothing of a mesh")
        self._folder.mkdir(exist_ok=True)
        (self._folder / "index.html").write_text(f"hello from web: {MARKER}\n", "utf-8")
        (self._folder / "big").write_bytes(os.urandom(DOWNLOAD_BYTES))
        self.narrator.run(
            "ambi", "run", "--detach", "-n", NAMESPACE, "--name", "web", "--service-account", "web",
            "--node", "node-1", "--port", str(PORT), "--",
            "python3", "-m", "http.server", str(PORT), "--directory", str(self._folder),
        )  # fmt: skip
        self.narrator.run(
            "ambi", "run", "--detach", "-n", NAMESPACE, "--name", "client",
            "--service-account", "client", "--node", "node-2", "--", "sleep", "infinity",
        )  # fmt: skip
        self._apply(SERVICE, "service.yaml")
        self.narrator.until("the service has an endpoint", self._has_answer, seconds=10)

    def _show_plaintext(self) -> None:
        self.narrator.step("without the mesh, the wire shows everything")
        segments = self._recorded_request()
        seen = [s for s in segments if MARKER.encode() in s.payload]
        self.narrator.check("the answer is on the wire in plaintext", holds=bool(seen))
        self.narrator.say("now a long download begins, and goes on through what follows")
        self._download = self.narrator.background(
            "ambi", "exec", "-n", NAMESPACE, "client", "--",
            "curl", "-sS", "--limit-rate", "3M", "-o", str(self._folder / "copy"), self._url("big"),
        )  # fmt: skip

    def _capture(self) -> None:
        self.narrator.step("capture both pods by a label, while they run")
        self.narrator.until("the download is under way", self._has_begun, seconds=10)
        self.narrator.run(
            "kubectl", "label", "namespace", NAMESPACE, "istio.io/dataplane-mode=ambient"
        )
        self.narrator.until("both pods are captured", self._are_captured, seconds=15)

    def _show_encryption(self) -> None:
        self.narrator.step("new connections are encrypted, old ones go on")
        self.narrator.until("requests pass the mesh", self._is_tunnelled, seconds=10)
        segments = self._recorded_request()
        plain = [s for s in segments if MARKER.encode() in s.payload]
        tunnelled = [s for s in segments if HBONE_PORT in s.ports]
        self.narrator.check("nothing of the answer is on the wire", holds=not plain, seen=plain)
        self.narrator.check("it went through port 15008", holds=bool(tunnelled))
        self.narrator.check("as TLS", holds=any(s.looks_like_tls for s in tunnelled))
        client = self._pod_address("client")
        log = self.narrator.run("ambi", "logs", "-n", NAMESPACE, "web", "--tail", "3")
        self.narrator.check(
            f"the server still sees the client's own address {client}",
            holds=f"{client} - -" in log.splitlines()[-1], seen=log,
        )  # fmt: skip
        self._finish_download()

    def _finish_download(self) -> None:
        assert self._download is not None
        self.narrator.say("the download that began before the capture runs to its end")
        output, _ = self._download.communicate(timeout=60)
        same = _digest(self._folder / "copy") == _digest(self._folder / "big")
        intact = self._download.returncode == 0 and same
        self.narrator.check("it arrived whole, without a reset", holds=intact, seen=output)

    def _show_identities(self) -> None:
        self.narrator.step("who talks to whom, proven by certificates")
        log = self._access_log("node-1")
        line = next((x for x in reversed(log) if 'direction="inbound"' in x), "")
        self.narrator.say(line.split("\t")[-1] if line else "(no line)")
        for account in ("client", "web"):
            identity = f"spiffe://cluster.local/ns/{NAMESPACE}/sa/{account}"
            self.narrator.check(
                f"the access log names {identity}", holds=identity in line, seen=line
            )

    def _deny_and_allow(self) -> None:
        self.narrator.step("deny the client by a policy, and allow it again")
        path = self._folder / "deny.yaml"
        path.write_text(DENY, "utf-8")
        self.narrator.run("kubectl", "apply", "-f", str(path))
        self.narrator.until("the client is refused", lambda: not self._has_answer(), seconds=2)
        reason = "explicitly denied by: demo/deny-client"
        self.narrator.until(
            f"the log says why: {reason}",
            lambda: any(reason in line for line in self._access_log("node-1")), seconds=2,
        )  # fmt: skip
        self.narrator.run("kubectl", "delete", "-f", str(path))
        self.narrator.until("the client is allowed again", self._has_answer, seconds=2)

    def _show_metrics(self) -> None:
        self.narrator.step("the metrics have Istio's names")
        text = self.narrator.run(
            "ambi", "exec", "-n", NAMESPACE, "client", "--",
            "curl", "-s", "http://198.18.0.2:15020/metrics",
        )  # fmt: skip
        pattern = r"^istio_tcp_connections_opened_total\{.*sa/client.*\} [1-9]"
        line = re.search(pattern, text, re.MULTILINE)
        self.narrator.check(
            "connections are counted by identity", holds=bool(line), seen=text[:400]
        )
        denied = re.search(
            r'^istio_tcp_connections_closed_total.*response_flags="DENY"', text, re.MULTILINE
        )
        self.narrator.check("and so is the refusal", holds=bool(denied))

    def _lose_control_plane(self) -> None:
        self.narrator.step("traffic does not need the control plane")
        asyncio.run(self._kill_control_plane())
        answers = [self._has_answer() for _ in range(5)]
        self.narrator.check("five requests after its kill -9 succeed", holds=all(answers))

    async def _kill_control_plane(self) -> None:
        async with await InitClient.connect(self._home.init_socket(FABRIC)) as init:
            await init.signal("component/controlplane", signal.SIGKILL)
        self.narrator.check("the control plane is killed", holds=True)

    # -- looking ---------------------------------------------------------------------------

    def _apply(self, manifest: str, name: str) -> None:
        path = self._folder / name
        path.write_text(manifest, "utf-8")
        self.narrator.run("kubectl", "apply", "-f", str(path))

    def _url(self, path: str = "") -> str:
        return f"http://web.{NAMESPACE}:{PORT}/{path}"

    def _request(self) -> str:
        return self.narrator.run(
            "ambi", "exec", "-n", NAMESPACE, "client", "--",
            "curl", "-sS", "--max-time", "3", self._url(),
            shown=False, expect=None,
        )  # fmt: skip

    def _has_answer(self) -> bool:
        return MARKER in self._request()

    def _is_tunnelled(self) -> bool:
        """A request whose connection the server's proxy has logged."""
        before = len(self._access_log("node-1"))
        return self._has_answer() and len(self._access_log("node-1")) > before

    def _recorded_request(self) -> list[Segment]:
        """Make one request and give what passed the wire of the client's node meanwhile."""

        async def work() -> list[Segment]:
            async with recorded(self._home, "node-2") as path:
                self.narrator.run(
                    "ambi", "exec", "-n", NAMESPACE, "client", "--", "curl", "-sS", self._url()
                )
            return [s for s in read_segments(path) if not self._is_download(s)]

        return asyncio.run(work())

    def _is_download(self, segment: Segment) -> bool:
        """The download that began before the capture stays as it was: in plaintext."""
        return PORT in segment.ports and MARKER.encode() not in segment.payload

    def _has_begun(self) -> bool:
        copy = self._folder / "copy"
        return copy.exists() and 0 < copy.stat().st_size < DOWNLOAD_BYTES

    def _are_captured(self) -> bool:
        path = r"{.items[*].metadata.annotations.ambient\.istio\.io/redirection}"
        text = self.narrator.run(
            "kubectl", "get", "pods", "-n", NAMESPACE, "-o", f"jsonpath={path}", shown=False
        )
        return text.split() == ["enabled", "enabled"]

    def _pod_address(self, name: str) -> str:
        return self.narrator.run(
            "kubectl", "get", "pod", name, "-n", NAMESPACE, "-o", "jsonpath={.status.podIP}",
            shown=False,
        ).strip()  # fmt: skip

    def _access_log(self, node: str) -> list[str]:
        path = self._home.log_file(f"{node}-proxy")
        try:
            lines = path.read_text("utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return [line for line in lines if "\taccess\t" in line or '"scope":"access"' in line]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
