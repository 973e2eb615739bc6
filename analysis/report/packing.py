"""Data and scripts inside the page: compressed, and named by their hashes to the browser.

What is packed is base64, which cannot end a script element or begin a tag, whatever the data says.
"""

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from cluster.wording import visible

LEVEL = 6
"""Of compression: the highest takes a third longer, for a 400th less."""


def packed(text: str) -> str:
    """Return a text as base64 of its gzip; the same text always gives the same."""
    return base64.b64encode(gzip.compress(text.encode("utf-8", "backslashreplace"), LEVEL, mtime=0)).decode()


def packed_json(data: Any) -> str:
    """Return data as packed JSON; raises ValueError if it has numbers that JSON does not know."""
    return packed(json.dumps(data, allow_nan=False, separators=(",", ":")))


@dataclass(frozen=True)
class Script:
    """A script of ours or of a library, and the hash by which the page allows it and no other to run."""

    code: str

    @property
    def source(self) -> str:
        """Its entry in the Content-Security-Policy's `script-src`."""
        return f"'sha256-{base64.b64encode(hashlib.sha256(self.code.encode()).digest()).decode()}'"


def policy(scripts: list[Script]) -> str:
    """Return a Content-Security-Policy by which nothing leaves the page and only these scripts run.

    Styles may be inline, as drawings have them; what they could fetch is forbidden too.
    """
    parts = {
        "default-src": "'none'",
        "script-src": " ".join(script.source for script in scripts),
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "font-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())


def shown(value: Any) -> Any:
    """Return a text without what a browser would obey or could not encode; all else as it is."""
    return visible(value) if type(value) is str else value
