"""Executes the notebooks of the docs with this interpreter: `python -m tests.notebooks` writes their outputs anew."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
SECONDS = 300


class OwnKernel(AsyncKernelManager):
    """A kernel of this interpreter, whatever kernels are installed."""

    @property
    def kernel_spec(self):
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def execute(path):
    """Return a notebook, executed in its folder; raises CellExecutionError if a cell does."""
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        kernel = OwnKernel(transport="ipc", ip=f"{folder}/kernel")  # sockets that nobody else can reach
        client = NotebookClient(
            notebook,
            km=kernel,
            timeout=SECONDS,
            record_timing=False,  # no times in what is committed
            resources={"metadata": {"path": str(path.parent)}},
        )
        client.execute()
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def main(paths):
    """Execute notebooks, all if none is named, and write them with their outputs."""
    for path in map(Path, paths or sorted(NOTEBOOKS.glob("*.ipynb"))):
        nbformat.write(execute(path), path)


if __name__ == "__main__":
    main(sys.argv[1:])
