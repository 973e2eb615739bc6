"""The two libraries that the page brings along, from the packages that are installed here.

Plotly's package ships only its full bundle (4.8 MB). Compressed it takes 2.0 MB of the page, and the browser unpacks it
when the first figure comes into view. DataTables is that of `itables`: it sorts 6000 rows in some hundredths of a
second, tells screen readers what it does, and has been mended for fifteen years; a table of ours would have to catch
up.
"""

import re
from functools import cache
from importlib.resources import files

from analysis.report.packing import Script, packed

_EXPORTS = re.compile(r"export ?\{([^{}]*)\}")


@cache
def packed_libraries() -> dict[str, str]:
    """Return both scripts packed, which takes longer than all else of a small report."""
    return {"datatables": packed(data_tables().code), "plotly": packed(plotly().code)}


@cache
def plotly() -> Script:
    """Return Plotly's script; it defines `Plotly`."""
    return Script((files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8"))


@cache
def data_tables() -> Script:
    """Return DataTables' script; it defines `DataTable`.

    The bundle is a module, whose exports another script of the same page cannot import without a request: they become
    global. Raises ValueError if the bundle does not export it as it did.
    """
    code = (files("itables") / "html" / "dt_bundle.js").read_text(encoding="utf-8")
    exported = list(_EXPORTS.finditer(code))
    pairs = [pair.split(" as ") for pair in exported[-1][1].split(",")] if exported else []
    names = {pair[-1]: pair[0] for pair in pairs}
    if "default" not in names:
        raise ValueError("the bundle of itables has no default export, which was DataTables")
    end = exported[-1]
    return Script(f"(()=>{{{code[: end.start()]}globalThis.DataTable={names['default']};{code[end.end() :]}}})()")
