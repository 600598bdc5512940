"""Lines added to a file that another process is about to replace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_llm.delivery import files

WRITER = """
import sys
from pathlib import Path
from otel_llm.delivery.files import append_lines

append_lines(Path(sys.argv[1]), b"late\\n")
"""
LOCKS = Path("/proc/locks")


@pytest.mark.skipif(not LOCKS.exists(), reason="who waits for a lock is told by Linux only")
def test_who_waited_writes_into_the_new_file(tmp_path, eventually):
    """A line that waits for the lock while the file is replaced is in the file that is there then."""
    path = tmp_path / "letters"
    files.append_lines(path, b"done with\nkept\n")
    descriptor = files.open_to_append(path)
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) as writer:
        assert eventually(lambda: _waits(writer.pid))
        files.replace(path, b"kept\n")
        os.close(descriptor)
        assert writer.wait(20) == 0
    assert path.read_bytes() == b"kept\nlate\n"


def _waits(pid):
    return any("->" in line and f" {pid} " in line for line in LOCKS.read_text().splitlines())


def test_folders_that_cannot_be_opened(tmp_path, monkeypatch):
    """On Windows, which opens no folder, lines are written and synced all the same."""
    open_file = os.open

    def opened(path, *flags):
        if Path(path).is_dir():
            raise PermissionError(path)
        return open_file(path, *flags)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.delattr(os, "O_DIRECTORY")
    path = tmp_path / "letters"
    files.append_lines(path, b"kept\n", synced=True)
    assert path.read_bytes() == b"kept\n"
