"""What kind of file system a folder lies on, as Linux tells it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

_REMOTE = re.compile(
    r"nfs\d?|cifs|smb\w*|ncpfs|afs|ceph|coda|glusterfs|lustre|gpfs|beegfs|"
    r"fuse\.(sshfs|s3fs|goofys|gcsfuse|blobfuse2?|rclone|glusterfs|ceph(-fuse)?|davfs2?|mount-s3|juicefs)"
)


def network_file_system(folder: Path) -> str | None:
    """
    Name the kind of a network file system; None for a disk of this machine, or where it cannot be known.
    """
    kind = _kind(folder)
    return kind if kind is not None and _REMOTE.fullmatch(kind) else None


def _kind(folder: Path) -> str | None:
    where = os.path.realpath(folder)
    # Of two mounts at one place the later one lies on top.
    found = [(len(point), number, kind) for number, (point, kind) in enumerate(_mounts()) if _lies_in(where, point)]
    return max(found)[2] if found else None


def _mounts() -> Iterator[tuple[str, str]]:
    try:
        lines = MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        mount, _, source = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount.split(" ")[4])
        yield point, source.split(" ")[0]


def _lies_in(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
