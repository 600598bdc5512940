"""How sizes and ages are written for people."""

_SECONDS = ((86_400, "d"), (3600, "h"), (60, "min"))


def size(count: float) -> str:
    """
    Write a number of bytes.
    """
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:  # noqa: PLR2004
            return f"{count:.0f} {unit}"
        count //= 1024
    return f"{count:.0f} GiB"


def age(seconds: float | None) -> str:
    """
    Write how long ago something was; a dash where that is not known.
    """
    if seconds is None:
        return "-"
    for length, unit in _SECONDS:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def many(count: int, thing: str, things: str | None = None) -> str:
    """
    Write a number of things.
    """
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"
