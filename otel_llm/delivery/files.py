"""
Files and folders that only we may read.

The journal holds what an application said to a model. Its folders are 0700, its files 0600; a symbolic link, a foreign
owner or a folder that anybody may write to is refused.
"""

import contextlib
import errno
import os
import shutil
import stat
from math import inf
from pathlib import Path

from otel_llm.errors import JournalError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def private_folder(path: Path) -> Path:
    """
    Make sure that the folder exists and is ours; raises `JournalError` when it is somebody else's.
    """
    if not path.parent.exists():
        private_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    fault = _fault(path.lstat())
    if fault:
        raise JournalError(f"{path} {fault}; give the journal a folder of its own")
    return path


def open_private(path: Path, flags: int) -> int:
    """
    Open a file of ours, made with mode 0600 where it is missing; a symbolic link is never followed.
    """
    return os.open(path, flags | _FLAGS, 0o600)


def append_lines(path: Path, data: bytes, *, synced: bool = False) -> None:
    """
    Add whole lines to a file that several processes write, in one piece; `synced` waits until the disk has them.
    """
    descriptor = open_to_append(path)
    try:
        is_new = not os.fstat(descriptor).st_size
        write_whole(descriptor, data)
        if synced:
            sync(descriptor)
            if is_new:
                sync_folder(path.parent)
    finally:
        os.close(descriptor)


def open_to_append(path: Path) -> int:
    """
    Open a file that several processes write, and hold its lock until it is closed.
    """
    while True:
        descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        lock(descriptor)
        if _lies_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # who held the lock before has put another file in its place


def replace(path: Path, data: bytes) -> None:
    """
    Give a file new contents so that a reader sees the old ones or the new ones, never a part.

    A full disk has no room for both: there the old ones are overwritten.
    """
    draft = path.with_name(f".{path.name}.new")
    try:
        _write_file(draft, data, os.O_CREAT)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _write_file(path, data, 0)
    else:
        draft.replace(path)


def _write_file(path: Path, data: bytes, flags: int) -> None:
    descriptor = open_private(path, os.O_WRONLY | flags)
    try:
        written = os.pwrite(descriptor, data, 0)
        os.ftruncate(descriptor, written)
    finally:
        os.close(descriptor)
    if written < len(data):
        raise OSError(errno.ENOSPC, "no space is left for the whole of", str(path))


def write_whole(descriptor: int, data: bytes) -> None:
    """
    Add all of the data to an open file, or nothing.
    """
    start = os.lseek(descriptor, 0, os.SEEK_END)
    written = 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except OSError:
        os.ftruncate(descriptor, start)
        raise


def sync(descriptor: int) -> None:
    """
    Wait until the disk has what was written to an open file.
    """
    if _FULL_SYNC is not None:
        fcntl.fcntl(descriptor, _FULL_SYNC)
    else:
        getattr(os, "fdatasync", os.fsync)(descriptor)


def sync_folder(path: Path) -> None:
    """
    Wait until the disk has the names in a folder; Windows opens no folders, so there is nothing to wait for.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(path: Path) -> float:
    """
    Give the room that is left on the disk under a folder; infinity where the disk has no bounds, or tells none.
    """
    if not hasattr(os, "statvfs"):
        return inf
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize if disk.f_blocks else inf


def remove_folder(path: Path) -> None:
    """
    Remove a folder and all in it; who dies meanwhile leaves it under a name that nobody takes for a journal.
    """
    draft = path.with_name(f".{path.name}")
    with contextlib.suppress(OSError):
        path.rename(draft)
        shutil.rmtree(draft)


def lock(descriptor: int) -> None:
    """
    Wait for the lock of an open file; it ends when the process closes the file or dies.
    """
    if fcntl is not None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX)


def try_lock(descriptor: int) -> bool:
    """
    Take the lock of an open file unless another process holds it; a forked child does not inherit it.
    """
    if fcntl is None:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _lies_at(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _fault(status: os.stat_result) -> str | None:
    if not stat.S_ISDIR(status.st_mode):
        return "is a symbolic link or a file, not a folder"
    if hasattr(os, "geteuid") and status.st_uid not in {os.geteuid(), 0}:
        return f"belongs to user {status.st_uid}"
    if status.st_mode & stat.S_IWOTH:
        return "may be written by anybody"
    return None


try:
    import fcntl
except ImportError:  # Windows keeps its records in memory
    fcntl = None  # type: ignore[assignment]

_FULL_SYNC = getattr(fcntl, "F_FULLFSYNC", None)
"""Where plain `fsync` stops at the disk's own cache (macOS), this does not."""

CAN_LOCK = fcntl is not None
"""Whether a journal on disk can be told from a dead process's."""
