"""Servers that are not ours, made ready in a directory so that each can run as a pod."""

import pwd
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.running_mesh import Program

WEBSOCKET_PEER = Path(__file__).with_name("websocket_peer.py")
FILE_BYTES = 3_000_000
POSTGRES_FOLDERS = "/usr/lib/postgresql"  # Debian keeps initdb off PATH

_NGINX = """\
daemon off;
user root;
pid nginx.pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  root {folder};
  server {{ listen 8080; listen [::]:8080; }}
  server {{ listen 8081 http2; listen [::]:8081 http2; }}
  server {{
    listen 8443 ssl http2;
    listen [::]:8443 ssl http2;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Servers:
    """Prepares and describes every server; everything they need is below ``folder``."""

    folder: Path

    def programs(self, node: str) -> list[Program]:
        """Prepare the servers and describe their pods."""
        self.folder.chmod(0o755)  # databases run as users of their own
        self._make_certificate()
        (self.folder / "file").write_bytes(random.Random(7).randbytes(FILE_BYTES))
        return [
            self._nginx(node), self._redis(node), self._mariadb(node), self._postgres(node),
            self._openssl(node), self._websocket(node), self._checksum(node),
        ]  # fmt: skip

    def _make_certificate(self) -> None:
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=server.test", "-addext",
            "subjectAltName=DNS:server.test", "-keyout", str(self.folder / "key.pem"),
            "-out", str(self.folder / "certificate.pem"),
        )  # fmt: skip

    def _nginx(self, node: str) -> Program:
        configuration = self.folder / "nginx.conf"
        configuration.write_text(_NGINX.format(folder=self.folder), "utf-8")
        command = ("-e", "stderr", "-p", str(self.folder), "-c", str(configuration))
        return Program(name="nginx", node=node, command=(_path("nginx"), *command), port=8080)

    def _redis(self, node: str) -> Program:
        settings = ("--protected-mode", "no", "--save", "", "--bind", "*", "-::*")
        command = (_path("redis-server"), "--dir", str(self.folder), *settings)
        return Program(name="redis", node=node, command=command, port=6379)

    def _mariadb(self, node: str) -> Program:
        folder = self._folder_of("mysql")
        run("mariadb-install-db", "--no-defaults", f"--datadir={folder}/data", "--user=mysql",
            "--skip-test-db", "--auth-root-authentication-method=normal")  # fmt: skip
        first = folder / "first.sql"
        first.write_text("CREATE USER lab@'%' IDENTIFIED BY 'lab';\nGRANT ALL ON *.* TO lab@'%';\n")
        settings = ("--bind-address=*", "--skip-name-resolve", f"--init-file={first}",
                    f"--socket={folder}/socket", f"--pid-file={folder}/pid")  # fmt: skip
        command = (_path("mariadbd"), "--no-defaults", f"--datadir={folder}/data", *settings)
        return Program(name="mariadb", node=node, command=command, port=3306, user=_uid("mysql"))

    def _postgres(self, node: str) -> Program:
        folder = self._folder_of("postgres")
        (binaries,) = sorted(Path(POSTGRES_FOLDERS).glob("*/bin"))[-1:]
        run("runuser", "-u", "postgres", "--", str(binaries / "initdb"), "-D", f"{folder}/data",
            "-A", "trust", "--no-sync", cwd=folder)  # fmt: skip
        with (folder / "data" / "pg_hba.conf").open("a", encoding="utf-8") as rules:
            rules.write("host all all all trust\n")
        settings = ("-c", "listen_addresses=*", "-c", f"unix_socket_directories={folder}")
        command = (str(binaries / "postgres"), "-D", f"{folder}/data", *settings)
        user = _uid("postgres")
        return Program(name="postgres", node=node, command=command, port=5432, user=user)

    def _openssl(self, node: str) -> Program:
        files = ("-cert", str(self.folder / "certificate.pem"),
                 "-key", str(self.folder / "key.pem"))  # fmt: skip
        command = (_path("openssl"), "s_server", "-accept", "4433", *files, "-rev")
        return Program(name="openssl", node=node, command=command, port=4433)

    def _websocket(self, node: str) -> Program:
        command = (sys.executable, "-E", str(WEBSOCKET_PEER), "serve", "9000")
        return Program(name="websocket", node=node, command=command, port=9000)

    def _checksum(self, node: str) -> Program:
        """Describe a server that answers only after the client's half-close."""
        listen = "TCP6-LISTEN:7000,fork,reuseaddr,ipv6only=0"
        command = (_path("socat"), "-t", "30", listen, "EXEC:sha256sum")
        return Program(name="checksum", node=node, command=command, port=7000)

    def _folder_of(self, user: str) -> Path:
        folder = self.folder / user
        folder.mkdir()
        shutil.chown(folder, user)
        return folder


def run(*command: str, cwd: Path | None = None) -> None:
    """Run a program that prepares something; it must succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def lines(*texts: str) -> str:
    """Give text as the shell's printf takes it."""
    return "".join(f"{text}\\n" for text in texts)


def shell(script: str) -> Sequence[str]:
    """Give the command that runs a script and fails with its first failing program."""
    return ("bash", "-o", "pipefail", "-ec", script)


def _path(program: str) -> str:
    found = shutil.which(program)
    assert found, f"{program} is not installed; `make tools` does it"
    return found


def _uid(user: str) -> int:
    return pwd.getpwnam(user).pw_uid
