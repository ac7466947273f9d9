"""The ``ambi`` command: finds each command's module when it is called, and prints problems."""

import importlib
import signal
import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from ambimesh.diagnostics.problem import ExitCode, MeshError

# name: (module, one line of help). Modules are loaded when their command is called, so that
# `ambi get` does not wait for what only `ambi controlplane` needs.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "up": ("up", "Start a mesh on this machine."),
    "down": ("down", "Stop the mesh and leave nothing behind."),
    "status": ("status", "Show what runs and how it is."),
    "demo": ("demo", "Show the mesh at work, step by step, each step checked."),
    "run": ("run", "Run a program as a pod."),
    "exec": ("exec", "Run a command in a pod."),
    "logs": ("logs", "Print what a pod's programs have said."),
    "port-forward": ("port_forward", "Open a pod's port on 127.0.0.1."),
    "get": ("get", "List objects, or show some."),
    "apply": ("apply", "Make objects be as files say."),
    "delete": ("delete", "Delete objects."),
    "label": ("label", "Set or take away labels."),
    "annotate": ("annotate", "Set or take away annotations."),
    "kubeconfig": ("kubeconfig", "Print the path of the mesh's kubeconfig, for kubectl."),
    "version": ("version", "Print versions and how the node proxy was built."),
    "apiserver": ("apiserver", "Serve the embedded API (started by `ambi up`)."),
    "controlplane": ("controlplane", "Run the control plane (started by `ambi up`)."),
    "node": ("node", "Run the node agent of one node (started by `ambi up`)."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Name the commands in the order of a mesh's life."""
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import the module of a command and give its ``command``."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"ambimesh.cli.{COMMANDS[name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="First steps: `ambi up --detach`, then `ambi run -h`. Every command explains itself "
    "with --help.",
)
def ambi() -> None:
    """Ambimesh: identity, encryption, policy and insight for programs you do not touch."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["node-proxy"]:  # its process must stay light: no command line library
        from ambimesh.cli import node_proxy  # noqa: PLC0415

        sys.exit(node_proxy.main(given[1:]))
    sys.exit(_run(given))


def _run(arguments: list[str]) -> int:
    try:
        result: Any = ambi.main(args=arguments, prog_name="ambi", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        return 128 + signal.SIGINT
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone: nothing more to say
        return 128 + signal.SIGPIPE
    except MeshError as error:
        click.echo(error.problem.render(), err=True)
        return error.exit_code
    return result if isinstance(result, int) else ExitCode.OK


if __name__ == "__main__":
    main()
