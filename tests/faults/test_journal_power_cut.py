"""
A power cut takes what was not synced: bytes, and names of files. With durability `always` no record is among it.
"""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_llm.delivery import adoption, journal
from otel_llm.delivery.journal import Journal
from otel_llm.delivery.reader import Reader
from otel_llm.delivery.spec import DeliverySettings

SINK = "sink-1"


class Platter:
    """
    Knows what has come to rest on the disk: of files their length, of folders their names.
    """

    def __init__(self, folder):
        self.folder = folder
        self._lengths = {}
        self._names = {folder.stat().st_ino: {"journal"}}

    @contextmanager
    def watched(self):
        """
        Look on while files and folders are synced.
        """
        with pytest.MonkeyPatch.context() as patch:
            for name in ("fsync", "fdatasync"):
                patch.setattr(os, name, self._noting(getattr(os, name)))
            yield

    def cut_power(self):
        """
        Take away what was never synced, and more of what was written in another way than by appending.
        """
        self._cut(self.folder)

    def _noting(self, sync):
        def call(descriptor):
            sync(descriptor)
            status = os.fstat(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").resolve()
            if path.is_dir():
                self._names[status.st_ino] = {each.name for each in path.iterdir()}
            else:
                self._lengths[status.st_ino] = status.st_size

        return call

    def _cut(self, folder):
        kept = self._names.get(folder.stat().st_ino, set())
        for path in folder.iterdir():
            if path.is_dir():
                self._cut(path) if path.name in kept else shutil.rmtree(path)
            elif path.name in kept:
                os.truncate(path, self._lengths.get(path.stat().st_ino, 0))
            else:
                path.unlink()


steps = st.lists(
    st.tuples(st.just("append"), st.integers(0, 200)) | st.sampled_from([("read", 1), ("read", 3), ("sync", 0)]),
    min_size=1,
    max_size=30,
)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux for the path of an open file")
@pytest.mark.parametrize("durability", ["power", "always"])
@given(steps=steps)
@settings(max_examples=40, deadline=None)
def test_power_cut(durability, steps):
    """What was synced is there after a power cut: every record, or those before the last sync."""
    with tempfile.TemporaryDirectory() as name:
        platter = Platter(Path(name))
        group = Path(name) / "journal" / "group"
        options = DeliverySettings(journal_dir=group.parent, durability=durability)
        with platter.watched():
            log = Journal(group, options, [SINK], rejected=print, wake=lambda: None)
            log._segment_bytes = 300
            owed, synced = _play(log, steps)
        log.abandon()
        platter.cut_power()
        assert (owed if durability == "always" else owed & synced) <= _found(group)
        journal.owned.clear()


def _play(log, steps):
    reader = Reader(log, SINK, 0, print)
    appended, owed, synced = 0, set(), set()
    for step, amount in steps:
        if step == "append":
            assert log.append(b"%d" % appended + b"." * amount)
            owed.add(appended)
            appended += 1
        elif step == "sync":
            log.sync()
            synced = set(range(appended))
        else:
            owed -= _take(reader, amount)
    reader.close()
    return owed, synced


def _take(reader, count):
    span, found = reader.begin(), set()
    while len(found) < count and (frame := reader.peek()) is not None:
        found.add(int(frame.payload.rstrip(b".")))
        reader.take(span)
    reader.settle(span)
    return found


def _found(group):
    found = set()
    for heritage in adoption.adopt(group, [SINK]):
        reader = Reader(heritage, SINK, heritage.cursors[SINK], lambda *_: None)
        found |= _take(reader, 1000)
        reader.close()
        heritage.release()
    return found
