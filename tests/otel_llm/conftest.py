import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_llm import diagnostics, entry_points, plugins

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package of one module with entry points, for one test."""
    modules = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(diagnostics, "_warned", set())

    def add(package: str, source: str, extras: tuple[str, ...] = (), **groups: str) -> None:
        (tmp_path / f"{package}.py").write_text(source)
        metadata = tmp_path / f"{package}-1.0.dist-info"
        metadata.mkdir()
        provided = "".join(f"Provides-Extra: {extra}\n" for extra in extras)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n{provided}")
        (metadata / "entry_points.txt").write_text("".join(f"[{group}]\n{line}\n" for group, line in groups.items()))
        forget()

    yield add
    for name in set(sys.modules) - modules:
        if name.startswith("acme"):
            del sys.modules[name]
    monkeypatch.undo()
    forget()


def forget() -> None:
    """Let the next look-up read the installed packages again."""
    for cached in (entry_points._read, plugins.dialects, plugins.clients):
        cached.cache_clear()
