"""A real mesh for lab tests: two nodes, real processes, real namespaces, in a home of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ambimesh.local.home import Home

Value = TypeVar("Value")
PEER = Path(__file__).with_name("traffic_peer.py")
COMMAND_SECONDS = 60.0
POLL_SECONDS = 0.02


@dataclass(slots=True)
class RunningMesh:
    """One mesh. Every method fails the test when its command does."""

    home: Home
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def start(cls, root: Path, *, nodes: int = 2) -> "RunningMesh":
        """Start a mesh in ``root``."""
        mesh = cls(Home(root))
        mesh.environment = {
            **os.environ, "AMBIMESH_HOME": str(root), "KUBECONFIG": str(mesh.home.kubeconfig),
        }  # fmt: skip
        mesh.ambi("up", "--detach", "--nodes", str(nodes), "--api-port", "0")
        return mesh

    def stop(self) -> None:
        """Stop the mesh and check that it says so."""
        self.ambi("down")

    def ambi(self, *arguments: str, expect: int | None = 0, text: str | None = None) -> str:
        """Run ``ambi``; give what it wrote to standard output."""
        return self._run(self.ambi_command(*arguments), expect, text)

    def ambi_command(self, *arguments: str) -> list[str]:
        """Give the command line of ``ambi``."""
        return [sys.executable, "-m", "ambimesh.cli.main", *arguments]

    def kubectl(self, *arguments: str, expect: int | None = 0, text: str | None = None) -> str:
        """Run the real kubectl; give what it wrote to standard output."""
        return self._run(["kubectl", *arguments], expect, text)

    def apply(self, manifest: str) -> None:
        """Apply a manifest with kubectl."""
        self.kubectl("apply", "-f", "-", text=manifest)

    def run_pod(self, namespace: str, name: str, *program: str, node: str, account: str = "",
                port: int = 0) -> None:  # fmt: skip
        """Run a program as a pod and wait until it is ready."""
        arguments = ["run", "--detach", "-n", namespace, "--name", name, "--node", node]
        arguments += ["--service-account", account or name]
        arguments += ["--port", str(port)] if port else []
        self.ambi(*arguments, "--", *program)

    def run_peer(self, namespace: str, name: str, *, node: str, port: int = 8080) -> None:
        """Run the traffic peer's server as a pod."""
        program = (sys.executable, str(PEER), "serve", str(port))
        self.run_pod(namespace, name, *program, node=node, port=port)

    def run_client(self, namespace: str, name: str, *, node: str) -> None:
        """Run a pod that only waits to be entered."""
        self.run_pod(namespace, name, "sleep", "infinity", node=node)

    def exec(self, namespace: str, pod: str, *program: str, expect: int | None = 0) -> str:
        """Run a command in a pod; give its output."""
        return self.ambi("exec", "-n", namespace, pod, "--", *program, expect=expect)

    def case(self, namespace: str, pod: str, name: str, host: str, *more: str,
             port: int = 8080) -> dict[str, Any]:  # fmt: skip
        """Run a case of the traffic peer in a pod; give its object."""
        command = (sys.executable, str(PEER), name, host, str(port), *more)
        answer: dict[str, Any] = json.loads(self.exec(namespace, pod, *command).splitlines()[-1])
        return answer

    def address(self, namespace: str, pod: str, family: int = 4) -> str:
        """Give a pod's address."""
        query = f"jsonpath={{.status.podIPs[{0 if family == 4 else 1}].ip}}"
        return self.kubectl("get", "pod", pod, "-n", namespace, "-o", query).strip()

    def capture(self, namespace: str, *pods: str) -> None:
        """Label a namespace and wait until its pods are captured and the proxies know."""
        self.kubectl(
            "label", "--overwrite", "namespace", namespace, "istio.io/dataplane-mode=ambient"
        )
        self.until(lambda: all(self.redirection(namespace, p) == "enabled" for p in pods))

    def release(self, namespace: str, *pods: str) -> None:
        """Take the label away and wait until the pods are no longer announced as captured."""
        self.kubectl("label", "namespace", namespace, "istio.io/dataplane-mode-")
        self.until(lambda: not any(self.redirection(namespace, p) for p in pods))

    def redirection(self, namespace: str, pod: str) -> str:
        """Give a pod's redirection annotation."""
        query = r"jsonpath={.metadata.annotations.ambient\.istio\.io/redirection}"
        return self.kubectl("get", "pod", pod, "-n", namespace, "-o", query).strip()

    def access_log(self, node: str) -> list[str]:
        """Give the lines of a node proxy's access log."""
        path = self.home.log_file(f"{node}-proxy")
        text = path.read_text("utf-8", errors="replace") if path.exists() else ""
        return [line for line in text.splitlines() if "\taccess\t" in line]

    def until(self, look: Callable[[], Value], *, seconds: float = 15.0) -> Value:
        """Look until there is something; give it. Fails the test when time is up."""
        end = time.monotonic() + seconds
        while not (found := look()):
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {look}")
            time.sleep(POLL_SECONDS)
        return found

    def _run(self, command: list[str], expect: int | None, text: str | None) -> str:
        done = subprocess.run(
            command, env=self.environment, input=text, capture_output=True, text=True,
            timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        said = f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert expect is None or done.returncode == expect, said
        return done.stdout if expect == 0 else done.stdout + done.stderr
