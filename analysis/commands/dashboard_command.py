"""Declares `swell dashboard`."""

from typing import Annotated

import typer

PLACE = 14


def dashboard(
    search: Annotated[str | None, typer.Argument(help="The search to begin with; a list of all if left out.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on loopback; a free one if left out.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
    optuna: Annotated[
        bool, typer.Option("--optuna", help="Start optuna-dashboard too, on a copy of the study.")
    ] = False,
) -> None:
    """Show searches in the browser while they run; it only reads."""
    from analysis.dashboard.serve import serve
    from cluster.state.paths import find_search

    serve(find_search(search) if search else None, port, open_browser, optuna)
