"""``ambi label``: set or take away labels."""

from ambimesh.cli.metadata_change import change_command

command = change_command("label", "labels")
