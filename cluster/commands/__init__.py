"""The commands of `swell`: each is declared in a file `NAME_command.py`, beside what only it needs."""
