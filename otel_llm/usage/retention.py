"""Old JSONL files go: one file per UTC date, so a file's name says how old it is."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path


def expire(folder: Path, days: int, today: date | None = None) -> list[Path]:
    """
    Delete the files of dates more than so many days ago (0 keeps them for ever); gives those deleted.
    """
    if days <= 0:
        return []
    oldest = (today or datetime.now(UTC).date()) - timedelta(days=days)
    expired = [path for path in sorted(folder.glob("*.jsonl")) if (day := _day(path)) is not None and day < oldest]
    for path in expired:
        path.unlink(missing_ok=True)
    return expired


def _day(path: Path) -> date | None:
    try:
        return date.fromisoformat(path.stem)
    except ValueError:
        return None
