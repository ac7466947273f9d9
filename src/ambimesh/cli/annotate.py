"""``ambi annotate``: set or take away annotations."""

from ambimesh.cli.metadata_change import change_command

command = change_command("annotate", "annotations")
