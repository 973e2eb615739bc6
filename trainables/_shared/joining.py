"""Names what something was made by that began under one version and went on under others."""


def joined(before: str, now: str) -> str:
    """Return the name of what began with `before` and goes on with `now`, each an id, or several joined by `+`."""
    if not before or not now:
        return now or before
    return before if before == now or before.endswith(f"+{now}") else f"{before}+{now}"
