"""The commands of `swell` that read what has happened: each in a file `NAME_command.py`."""
