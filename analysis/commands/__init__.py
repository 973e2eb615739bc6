"""The commands of `swell` that read results; a file `NAME_command.py` declares each."""
