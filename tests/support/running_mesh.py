"""A real mesh for lab tests: two nodes, real processes, real namespaces, in a home of its own."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ambimesh.local.home import Home
from ambimesh.local.mesh_file import running_mesh

Value = TypeVar("Value")
PEER = Path(__file__).with_name("traffic_peer.py")
COMMAND_SECONDS = 100.0
POLL_SECONDS = 0.02
CAPTURE_LABEL = "istio.io/dataplane-mode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that runs as a pod; its service account has its name unless another is given."""

    name: str
    node: str
    command: tuple[str, ...] = ("sleep", "infinity")
    account: str = ""
    port: int = 0  # that it serves; 0: none, and it is ready at once
    user: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)

    def manifests(self, namespace: str) -> list[dict[str, Any]]:
        """Give the pod and its service account."""
        account = self.account or self.name
        container: dict[str, Any] = {"name": self.name, "command": list(self.command)}
        if self.port:
            probe = {"tcpSocket": {"port": self.port}, "periodSeconds": 1}
            container |= {"ports": [{"containerPort": self.port}], "readinessProbe": probe}
        spec = {
            "nodeName": self.node,
            "serviceAccountName": account,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsUser": self.user, "runAsGroup": self.user},
            "containers": [container],
        }
        labels = {"app": self.name, **self.labels}
        return [
            manifest("v1", "ServiceAccount", namespace, account, {}),
            manifest("v1", "Pod", namespace, self.name, {"spec": spec}, labels=labels),
        ]


def peer(name: str, *, node: str, port: int = 8080, **more: Any) -> Program:
    """Describe a pod that runs the traffic peer's server on ``port`` and the one after it."""
    command = (sys.executable, "-ES", str(PEER), "serve", str(port))
    return Program(name=name, node=node, command=command, port=port, **more)


def manifest(version: str, kind: str, namespace: str, name: str, body: Mapping[str, Any], *,
             labels: Mapping[str, str] | None = None) -> dict[str, Any]:  # fmt: skip
    """Give an object of the API."""
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **body}


@dataclass(slots=True)
class RunningMesh:
    """One mesh. Every method fails the test when its command does."""

    home: Home
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def started(cls, *, nodes: int = 2) -> Iterator["RunningMesh"]:
        """Run a mesh in a directory of its own for as long as the block takes."""
        with tempfile.TemporaryDirectory(prefix="ambimesh-lab-") as root:
            mesh = cls.start(Path(root) / "home", nodes=nodes)
            try:
                yield mesh
            finally:
                mesh.stop()

    @classmethod
    def start(cls, root: Path, *, nodes: int = 2) -> "RunningMesh":
        """Start a mesh in ``root``."""
        mesh = cls(Home(root))
        mesh.environment = {
            **os.environ, "AMBIMESH_HOME": str(root), "KUBECONFIG": str(mesh.home.kubeconfig),
            "KUBECACHEDIR": str(root / "kubectl-cache"),
        }  # fmt: skip
        mesh.ambi("up", "--detach", "--nodes", str(nodes), "--api-port", "0")
        return mesh

    def stop(self) -> None:
        """Stop the mesh and check that it says so."""
        self.ambi("down")

    # -- commands --------------------------------------------------------------------------

    def ambi(self, *arguments: str, expect: int | None = 0, text: str | None = None) -> str:
        """Run ``ambi``; give what it wrote to standard output."""
        return self._run(self.ambi_command(*arguments), expect, text)

    def ambi_command(self, *arguments: str) -> list[str]:
        """Give the command line of ``ambi``."""
        return [sys.executable, "-m", "ambimesh.cli.main", *arguments]

    def kubectl(self, *arguments: str, expect: int | None = 0, text: str | None = None) -> str:
        """Run the real kubectl; give what it wrote to standard output."""
        return self._run(["kubectl", *arguments], expect, text)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects with kubectl, all in one call."""
        self.kubectl("apply", "-f", "-", text="\n".join(map(json.dumps, objects)))

    def exec(self, namespace: str, pod: str, *program: str, expect: int | None = 0) -> str:
        """Run a command in a pod; give its output."""
        return self._run(self.exec_command(namespace, pod, *program), expect, None)

    def exec_command(self, namespace: str, pod: str, *program: str) -> list[str]:
        """Give the command that runs another in a pod; kubectl starts faster than ``ambi``."""
        return ["kubectl", "exec", "-n", namespace, pod, "--", *program]

    def background(self, namespace: str, pod: str, *program: str) -> subprocess.Popen[str]:
        """Start a command in a pod; the caller reads its output and ends it."""
        return subprocess.Popen(
            self.exec_command(namespace, pod, *program), env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def case(self, namespace: str, pod: str, name: str, host: str, *more: str,
             port: int = 8080) -> dict[str, Any]:  # fmt: skip
        """Run a case of the traffic peer in a pod; give its object."""
        output = self.exec(namespace, pod, *case_command(name, host, *more, port=port))
        answer: dict[str, Any] = json.loads(output.splitlines()[-1])
        return answer

    # -- pods ------------------------------------------------------------------------------

    def run_pods(self, namespace: str, *programs: Program) -> None:
        """Run programs as pods and wait until all of them are ready."""
        self.apply(*(each for program in programs for each in program.manifests(namespace)))
        names = [f"pod/{program.name}" for program in programs]
        wait = ("wait", "-n", namespace, "--for=condition=Ready", "--timeout=30s")
        said = self.kubectl(*wait, *names, expect=None)
        logs = {program.name: self.pod_log(namespace, program.name) for program in programs}
        assert said.count("condition met") == len(programs), f"{said}\n{logs}"

    def addresses(self, namespace: str) -> dict[str, tuple[str, str]]:
        """Give each pod's address of both families (IPv4 first), by the pod's name."""
        pods = json.loads(self.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
        return {
            pod["metadata"]["name"]: tuple(each["ip"] for each in pod["status"]["podIPs"])
            for pod in pods
        }

    def address(self, namespace: str, pod: str, family: int = 4) -> str:
        """Give a pod's address."""
        return self.addresses(namespace)[pod][0 if family == 4 else 1]

    def capture(self, namespace: str, *pods: str) -> None:
        """Label a namespace and wait until its pods are announced as captured."""
        self.kubectl("label", "--overwrite", "namespace", namespace, f"{CAPTURE_LABEL}=ambient")
        self.until(lambda: set(pods) <= self.captured(namespace))

    def release(self, namespace: str, *pods: str) -> None:
        """Take the label away and wait until the pods are no longer announced as captured."""
        self.kubectl("label", "namespace", namespace, f"{CAPTURE_LABEL}-")
        self.until(lambda: not set(pods) & self.captured(namespace))

    def captured(self, namespace: str) -> set[str]:
        """Name the pods of a namespace that are captured."""
        pods = json.loads(self.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
        return {pod["metadata"]["name"] for pod in pods if _redirection(pod) == "enabled"}

    def until_tunnelled(self, namespace: str, client: str, host: str, *, node: str) -> None:
        """Make requests until one of them is in the access log of the server's node."""

        def is_tunnelled() -> bool:
            before = len(self.access_log(node))
            assert self.case(namespace, client, "echo", host) == {"answer": "hello"}
            return len(self.access_log(node)) > before

        self.until(is_tunnelled)

    def parts(self) -> dict[str, Any]:
        """Give what ``ambi status`` reads: which parts there are, and whether all are ready."""
        mesh = running_mesh(self.home)
        return {} if mesh is None else {**mesh.shape(), "ready": mesh.is_ready}

    def access_log(self, node: str) -> list[str]:
        """Give the lines of a node proxy's access log."""
        path = self.home.log_file(f"{node}-proxy")
        text = path.read_text("utf-8", errors="replace") if path.exists() else ""
        return [line for line in text.splitlines() if "\taccess\t" in line]

    def pod_log(self, namespace: str, name: str) -> str:
        """Give what a pod's program has said."""
        path = self.home.pod_folder(namespace, name) / f"{name}.log"
        return path.read_text("utf-8") if path.exists() else ""

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


def case_command(name: str, host: str, *more: str, port: int = 8080) -> tuple[str, ...]:
    """Give the command of a case of the traffic peer."""
    return (sys.executable, "-ES", str(PEER), name, host, str(port), *more)


def _redirection(pod: Mapping[str, Any]) -> str:
    annotations = pod["metadata"].get("annotations", {})
    return str(annotations.get("ambient.istio.io/redirection", ""))
