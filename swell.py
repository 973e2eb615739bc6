"""The command line: finds the commands, says the user's errors in one place, and leaves all else to the commands."""

import gc
import importlib
import os
import pkgutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

OWN = str(Path(__file__).resolve().parent)
if sys.path[0] != OWN:  # `python -m` puts the working directory first: a user's folder named `cluster` is not ours
    sys.path.insert(0, OWN)

# What loading modules and reading trials makes stays: looking for cycles in it each time that 700 objects have come is
# a tenth of the time of `swell status`.
gc.set_threshold(50_000, 20, 20)

PACKAGES = ("cluster.commands", "analysis.commands")
DECLARED_IN = "_command"
"""How the modules end that declare a command: `launch_command` has a function `launch`, and its PLACE in the help."""
WRONG_INPUT = 2


class Once(TyperCommand):
    """A command that refuses an option given twice: the parser would take the last value and say nothing."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; end with a message and status 2 if an option of one value is given more than one."""
        *_, order = self.make_parser(ctx).parse_args(args=list(args))
        for param in order:
            takes_one = param.nargs == 1 and not param.multiple and not getattr(param, "is_flag", False)
            if takes_one and order.count(param) > 1 and not ctx.resilient_parsing:
                ctx.fail(f"{max(param.opts, key=len)} is given {order.count(param)} times, and takes one value.")
        return super().parse_args(ctx, args)


class Found(Mapping[str, Any]):
    """The commands by name, in the order of the help; a module is imported when its command is asked for."""

    def __init__(self) -> None:
        self._modules = {
            module.name.removesuffix(DECLARED_IN).replace("_", "-"): f"{package}.{module.name}"
            for package in PACKAGES
            for module in pkgutil.iter_modules(importlib.import_module(package).__path__)
            if module.name.endswith(DECLARED_IN)
        }

    def _declared(self, name: str) -> ModuleType:
        return importlib.import_module(self._modules[name])

    def __getitem__(self, name: str) -> Any:
        one = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        one.command(name, cls=Once)(getattr(self._declared(name), name.replace("-", "_")))
        return typer.main.get_command(one)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._modules, key=lambda name: (self._declared(name).PLACE, name)))

    def __len__(self) -> int:
        return len(self._modules)


class Commands(TyperGroup):
    """All commands of `swell`. What is the user's to mend ends any of them with one message and status 2."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Found()  # pyright: ignore[reportAttributeAccessIssue]  # nothing is ever added to it

    def invoke(self, ctx: Any) -> None:
        """Run the command asked for, and end with the exit status that it returns."""
        from cluster.jobs.environment import note_allocation

        note_allocation()
        try:
            result = super().invoke(ctx)
            status = result if result is None or isinstance(result, int) else _show_ending(result)
            sys.stdout.flush()
        except typer.Exit:
            raise
        except BrokenPipeError:  # whoever reads has enough
            status = 0
        except Exception as error:
            said = _to_be_mended(error)
            if not said:
                raise
            _say(said)
            status = WRONG_INPUT
        raise typer.Exit(status or 0)


def _show_ending(ended: Any) -> int:
    """Print the best trials of a search that has ended; return its exit status."""
    from analysis.show import show_ending

    try:
        show_ending(ended.paths)
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    except Exception as error:  # how the search ended is known all the same
        said = _to_be_mended(error)
        if not said:
            raise
        _say(said)
    return ended.status


def _say(message: str) -> None:
    from cluster.wording import visible

    with suppress(OSError):  # nobody may be there to hear it
        typer.echo(visible(message), err=True)


def _to_be_mended(error: Exception) -> str:
    """Return what to tell the user of an error that is not ours: theirs, a disk's or a database's; else nothing."""
    from search_spaces.errors import UserError

    return str(error) if isinstance(error, UserError | OSError) else _of_database(error)


def _of_database(error: BaseException) -> str:
    """Return what a database has refused, such as tables that are not there; empty if an exception is none of it."""
    from search_spaces.errors import hide_passwords

    seen: BaseException | None = error
    while seen is not None:  # SQLAlchemy and Optuna wrap what the driver raises
        if type(seen).__module__.split(".")[0] == "psycopg":
            first, *_ = str(seen).splitlines() or [type(seen).__name__]
            return f"the database cannot be used: {hide_passwords(first)}"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return ""


app = typer.Typer(
    name="swell",
    cls=Commands,
    help="Hyperparameter searches for scientific machine learning, in waves, with nothing lost.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: drawing it takes longer than all else of `swell --help` together
)


@app.callback()
def swell() -> None:
    """Take no options of its own: they are the commands'."""


def _on_interrupt(_signum: int, _frame: object) -> None:
    # Until a search runs, which saves first. An exception could get lost in whatever is being imported.
    os._exit(130)


def _open_closed_streams() -> None:
    """Open what the shell has closed (`swell run x.yaml >&-`) to nowhere, so that no file of ours takes its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
        elif number:
            getattr(sys, name).reconfigure(errors="backslashreplace")  # names that its encoding does not have


def _give_up_full_streams() -> None:
    """Drop what cannot be written any more, to a closed pipe or a full disk: Python would end with another status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main() -> None:
    """Run the command line; a closed pipe (`swell table ... | head`) is no error, and Ctrl-C no fault."""
    from cluster.machine.user import missing_variables

    signal.signal(signal.SIGINT, _on_interrupt)
    _open_closed_streams()
    os.environ.update(missing_variables())
    try:
        app()
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:  # of printing the help
        _say(str(error))
        sys.exit(WRONG_INPUT)
    finally:
        _give_up_full_streams()
        # Python gives signals their default back when it ends: a Ctrl-C then would make another exit code of it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.freeze()  # the end of Python would look for cycles in all modules, a tenth of the time of `swell status` too


if __name__ == "__main__":
    main()
