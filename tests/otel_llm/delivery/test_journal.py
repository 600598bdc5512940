import errno
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from otel_llm.delivery import adoption, files, frames, journal, mounts
from otel_llm.delivery import reader as reader_module
from otel_llm.delivery.journal import Journal
from otel_llm.delivery.reader import Reader
from otel_llm.delivery.store import Store

SINK = "sink-1"


@pytest.fixture
def group(tmp_path):
    return tmp_path / "journal" / "group"


@pytest.fixture
def open_journal(group, settings, request):
    """
    Give a function that opens a journal with one sink; `rejected` and `woken` note what it tells.
    """

    def make(sinks=(SINK,), **changes) -> Journal:
        rejected: list[str] = []
        woken: list[int] = []
        made = Journal(
            group, settings(**changes), sinks, rejected=rejected.append, wake=lambda: woken.append(made.next)
        )
        made.test_rejected, made.test_woken = rejected, woken
        request.addfinalizer(made.abandon)
        return made

    return make


class Books:
    def __init__(self) -> None:
        self.lost: dict[str, int] = {}

    def __call__(self, reason: str, count: int) -> None:
        self.lost[reason] = self.lost.get(reason, 0) + count


def reader(source, start=0, sink=SINK) -> Reader:
    return Reader(source, sink, start, Books())


def read_all(of: Reader) -> list[bytes]:
    span, found = of.begin(), []
    while (frame := of.peek()) is not None:
        found.append(frame.payload)
        of.take(span)
    of.settle(span)
    of.close()
    return found


def payload(number: int, size: int = 0) -> bytes:
    return f"{number}".encode().ljust(size, b".")


def inherit(group):
    (inheritance,) = adoption.adopt(group, [SINK])
    return inheritance


class TestAppend:
    @hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
    @given(payloads=st.lists(st.binary(max_size=2000), max_size=40))
    def test_round_trip(self, open_journal, payloads):
        """What was appended is read, in order."""
        log = open_journal()
        assert all(log.append(each) for each in payloads)
        assert read_all(reader(log)) == payloads

    def test_several_segments(self, open_journal, monkeypatch):
        """A reader goes from segment to segment, and what all sinks have read is removed."""
        monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)
        log = open_journal(journal_max_bytes=1 << 20)
        payloads = [payload(number, 3000) for number in range(100)]
        for each in payloads:
            log.append(each)
        assert len(log.store.segments) > 3
        assert read_all(reader(log)) == payloads
        assert len(log.store.segments) == 1

    def test_two_sinks(self, open_journal, monkeypatch):
        """A segment stays until the slowest sink has passed it."""
        monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)
        log = open_journal(sinks=["fast", "slow"], journal_max_bytes=1 << 20)
        payloads = [payload(number, 3000) for number in range(60)]
        for each in payloads:
            log.append(each)
        kept = len(log.store.segments)
        assert read_all(reader(log, sink="fast")) == payloads
        assert len(log.store.segments) == kept
        assert read_all(reader(log, sink="slow")) == payloads

    def test_many_threads(self, open_journal):
        """Records of many threads all arrive whole, those of one thread in its order."""
        log = open_journal()

        def write(name: int) -> None:
            for number in range(200):
                log.append(b"%d %d" % (name, number))

        threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = [tuple(map(int, each.split())) for each in read_all(reader(log))]
        assert sorted(found) == [(name, number) for name in range(8) for number in range(200)]
        assert [number for name, number in found if name == 3] == list(range(200))

    def test_append_within_append(self, open_journal, monkeypatch):
        """A finalizer that emits in the middle of an append loses neither record."""
        log = open_journal()
        inner = [b"inner"]
        pack = frames.pack

        def interrupted(sequence, data):
            if inner:
                log.append(inner.pop())
            return pack(sequence, data)

        monkeypatch.setattr(frames, "pack", interrupted)
        log.append(b"outer")
        assert read_all(reader(log)) == [b"outer", b"inner"]

    def test_wake(self, open_journal):
        """The reader is woken once when as many records are there as it waits for."""
        log = open_journal()
        log.want(3)
        for number in range(5):
            log.append(payload(number))
        assert log.test_woken == [3]

    @pytest.mark.parametrize("durability", ["process", "power", "always"])
    def test_durabilities(self, open_journal, durability):
        """Every durability on disk keeps what was appended."""
        log = open_journal(durability=durability)
        log.append(b"one")
        log.sync()
        assert read_all(reader(log)) == [b"one"]


class TestMemory:
    def test_no_folder(self, open_journal, group):
        """With durability `memory` nothing is written."""
        log = open_journal(durability="memory")
        log.append(b"one")
        assert read_all(reader(log)) == [b"one"]
        assert not group.exists()

    def test_leftovers(self, open_journal, group):
        """What memory still holds at the end is written to disk, for the next process."""
        log = open_journal(durability="memory")
        for number in range(3):
            log.append(payload(number))
        log.harden()
        log.close()
        assert read_all(reader(inherit(group))) == [b"0", b"1", b"2"]

    def test_drop_old(self, open_journal):
        """`drop_old` makes room by dropping the oldest, and the reader counts them."""
        log = open_journal(durability="memory", buffer_size=3, when_full="drop_old")
        for number in range(5):
            assert log.append(payload(number))
        books = Books()
        assert read_all(Reader(log, SINK, 0, books)) == [b"2", b"3", b"4"]
        assert books.lost == {"buffer_full": 2}

    def test_drop_new(self, open_journal):
        """`drop_new` refuses what does not fit."""
        log = open_journal(durability="memory", buffer_size=2, when_full="drop_new")
        assert [log.append(payload(number)) for number in range(3)] == [True, True, False]
        assert log.test_rejected == ["buffer_full"]

    def test_block(self, open_journal):
        """`block` waits until a sink has made room."""
        log = open_journal(durability="memory", buffer_size=1, block_ms=10_000)
        log.append(b"first")
        kept: list[bool] = []
        thread = threading.Thread(target=lambda: kept.append(log.append(b"second")))
        thread.start()
        of = reader(log)
        assert read_all(of) == [b"first"]
        thread.join(10)
        assert kept == [True]
        assert read_all(of) == [b"second"]

    def test_block_gives_up(self, open_journal):
        """`block` waits no longer than it may; then the record is refused."""
        log = open_journal(durability="memory", buffer_size=1, block_ms=1)
        assert [log.append(b"first"), log.append(b"second")] == [True, False]

    async def test_no_block_in_event_loop(self, open_journal):
        """Inside an event loop nothing is waited for: that would stop the sinks' makers of room, too."""
        log = open_journal(durability="memory", buffer_size=1, block_ms=60_000)
        assert [log.append(b"first"), log.append(b"second")] == [True, False]


class TestLimits:
    def fill(self, log: Journal) -> None:
        for number in range(200):
            log.append(payload(number, 4000))

    def test_drop_old(self, open_journal):
        """At the quota the oldest segments go, whatever `when_full` says but `drop_new`."""
        log = open_journal(journal_max_bytes=400_000)
        self.fill(log)
        books = Books()
        found = [int(each.rstrip(b".")) for each in read_all(Reader(log, SINK, 0, books))]
        assert found == list(range(200 - len(found), 200))
        assert books.lost == {"journal_full": 200 - len(found)}
        assert log.store.size <= 400_000

    def test_drop_new(self, open_journal):
        """With `drop_new` the oldest stay, and what comes is refused until there is room."""
        log = open_journal(journal_max_bytes=400_000, when_full="drop_new")
        self.fill(log)
        found = read_all(reader(log))
        assert [int(each.rstrip(b".")) for each in found] == list(range(len(found)))
        assert log.test_rejected == ["journal_full"] * (200 - len(found))
        log.keep_within_limits(0)
        assert log.append(b"fits again")

    def test_a_reader_in_a_segment_that_goes(self, open_journal):
        """A sink that stood in the middle of a segment that had to go counts the rest of it."""
        log = open_journal(journal_max_bytes=400_000)
        books = Books()
        log.append(payload(0, 4000))
        of = Reader(log, SINK, 0, books)
        of.peek()
        self.fill(log)
        of.skip_evicted()
        assert len(read_all(of)) + books.lost["journal_full"] == 201

    def test_age(self, open_journal, monkeypatch):
        """Segments that nobody fetched in time go."""
        monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)
        log = open_journal(journal_max_bytes=1 << 20, journal_max_age=60.0)
        self.fill(log)
        for segment in log.store.segments[:2]:
            os.utime(segment.path, (0, 0))
        gone = log.store.segments[2].first
        log.keep_within_limits(1000.0)
        books = Books()
        read_all(Reader(log, SINK, 0, books))
        assert books.lost == {"expired": gone}

    def test_age_of_few_records(self, open_journal):
        """Records go when they are too old, also where they are too few to fill a segment."""
        log = open_journal(journal_max_age=800.0)
        log.append(b"old")
        now = time.time()
        log.keep_within_limits(now + 101)
        log.append(b"young")
        os.utime(log.store.segments[0].path, (now - 800, now - 800))
        log.keep_within_limits(now + 1)
        books = Books()
        assert read_all(Reader(log, SINK, 0, books)) == [b"young"]
        assert books.lost == {"expired": 1}

    def test_age_of_what_was_left(self, open_journal, group):
        """What dead processes left goes when it is too old, to the last record."""
        log = open_journal()
        log.append(b"one")
        log.append(b"two")
        log.abandon()
        heritage = inherit(group)
        books = Books()
        of = Reader(heritage, SINK, 0, books)
        heritage.keep_within_limits(time.time() + 60)
        assert read_all(of) == []
        assert books.lost == {"expired": 2}
        assert heritage.released


class TestUnwritable:
    def test_memory_meanwhile(self, open_journal, group, caplog):
        """Without a disk records wait in memory, with one loud warning, and go to disk when it is back."""
        group.parent.parent.mkdir(parents=True, exist_ok=True)
        group.parent.write_text("in the way")
        log = open_journal()
        for number in range(3):
            assert log.append(payload(number))
        assert not log.recover()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        group.parent.unlink()
        assert log.recover()
        log.append(payload(3))
        assert read_all(reader(log)) == [b"0", b"1", b"2", b"3"]

    def test_to_the_end(self, open_journal, group, caplog):
        """When the disk does not come back before the process ends, how many records that costs is said."""
        group.parent.parent.mkdir(parents=True, exist_ok=True)
        group.parent.write_text("in the way")
        log = open_journal()
        for number in range(3):
            log.append(payload(number))
        log.harden()
        assert "3 records that no disk took end with the process" in caplog.text

    def test_deleted_folder(self, open_journal, monkeypatch):
        """When somebody deletes the journal under us, a new one is begun."""
        monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)
        log = open_journal(journal_max_bytes=1 << 20)
        log.append(payload(0))
        shutil.rmtree(log.folder)
        found = [payload(number, 4000) for number in range(40)]
        for each in found:
            assert log.append(each)
        assert not log.on_disk
        assert log.recover()
        assert log.append(b"last")
        assert read_all(reader(log))[-1] == b"last"

    def test_disk_full_in_the_middle(self, group):
        """A disk that gets full in the middle of a record loses none of them."""
        program = """
import resource, sys
from pathlib import Path
from otel_llm.delivery import adoption
from otel_llm.delivery.journal import Journal
from otel_llm.delivery.reader import Reader
from otel_llm.delivery.spec import DeliverySettings
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
group = Path(sys.argv[1])
log = Journal(group, DeliverySettings(journal_dir=group.parent), ["s"], rejected=print, wake=lambda: None)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
for number in range(20):
    assert log.append(b"%d" % number + b"." * 600)
on_disk = log.store.next
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert log.recover()
lost = []
reader = Reader(log, "s", 0, lambda *told: lost.append(told))
span, found = reader.begin(), []
while (frame := reader.peek()) is not None:
    found.append(int(frame.payload.rstrip(b".")))
    reader.take(span)
print(0 < on_disk < 20, found == list(range(20)), lost)
"""
        done = subprocess.run(
            [sys.executable, "-c", program, str(group)], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout.strip() == "True True []"

    def test_foreign_folder(self, open_journal, group, tmp_path, caplog):
        """A symbolic link in the journal's place is refused."""
        (tmp_path / "elsewhere").mkdir()
        group.parent.mkdir(parents=True)
        group.symlink_to(tmp_path / "elsewhere")
        log = open_journal()
        log.append(b"one")
        assert list((tmp_path / "elsewhere").iterdir()) == []
        assert "symbolic link" in caplog.text

    def test_open_to_all(self, open_journal, group, caplog):
        """A folder that anybody may write to is refused."""
        group.mkdir(parents=True)
        group.chmod(0o777)
        open_journal().append(b"one")
        assert "written by anybody" in caplog.text

    def test_modes(self, open_journal, group):
        """Folders are 0700 and files 0600, whatever the umask."""
        before = os.umask(0)
        try:
            open_journal().append(b"one")
        finally:
            os.umask(before)
        folders = [group.parent, group, *(path for path in group.rglob("*") if path.is_dir())]
        assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
        assert {path.stat().st_mode & 0o777 for path in group.rglob("*") if path.is_file()} == {0o600}


class TestAdoption:
    def leave(self, log: Journal, *payloads: bytes):
        for each in payloads:
            log.append(each)
        folder = log.folder
        log.abandon()
        return folder

    def test_from_the_cursor(self, open_journal, group):
        """The heir goes on where the dead process's sink had come to."""
        log = open_journal()
        log.append(b"had")
        read_all(reader(log))
        self.leave(log, b"missing")
        inheritance = inherit(group)
        assert read_all(reader(inheritance, inheritance.cursors[SINK])) == [b"missing"]

    def test_removed_when_delivered(self, open_journal, group):
        """An inherited journal is removed when every sink has everything."""
        folder = self.leave(open_journal(), b"one")
        read_all(reader(inherit(group)))
        assert not folder.exists()

    def test_the_living_keep_theirs(self, open_journal, group):
        """Nobody inherits from a process that lives, not even that process itself."""
        open_journal().append(b"one")
        assert adoption.adopt(group, [SINK]) == []
        program = "import sys; from pathlib import Path; from otel_llm.delivery.adoption import adopt;"
        program += "print(len(adopt(Path(sys.argv[1]), [])))"
        done = subprocess.run([sys.executable, "-c", program, str(group)], capture_output=True, check=True, timeout=60)
        assert done.stdout.strip() == b"0"

    def test_missing_cursor(self, open_journal, group):
        """Without its cursor a sink gets everything that is there: twice is better than never."""
        folder = self.leave(open_journal(), b"one", b"two")
        (folder / f"{SINK}.cursor").unlink()
        inheritance = inherit(group)
        assert read_all(reader(inheritance, inheritance.cursors[SINK])) == [b"one", b"two"]

    def test_spoiled_cursor(self, open_journal, group):
        """A cursor that cannot be read counts as missing."""
        folder = self.leave(open_journal(), b"one")
        (folder / f"{SINK}.cursor").write_bytes(b"\xff\xff")
        assert inherit(group).cursors == {SINK: 0}

    def test_unknown_version(self, open_journal, group, caplog):
        """A journal of a newer version is left as it is."""
        folder = self.leave(open_journal(), b"one")
        (segment,) = folder.glob("*.segment")
        segment.write_bytes(frames.MAGIC + b"\x63\0\x9c\xff" + b"from the future")
        assert adoption.adopt(group, [SINK]) == []
        assert "version 99" in caplog.text
        assert segment.exists()

    def test_torn_tail(self, open_journal, group):
        """A record that a dying process did not finish is noticed, and the ones before it are read."""
        folder = self.leave(open_journal(), b"one", b"two")
        (segment,) = folder.glob("*.segment")
        segment.write_bytes(segment.read_bytes()[:-2])
        inheritance = inherit(group)
        assert inheritance.torn
        assert read_all(reader(inheritance)) == [b"one"]

    def test_damage_in_the_middle(self, open_journal, group):
        """A damaged record is counted, and the next one read."""
        folder = self.leave(open_journal(), b"one", b"two", b"three")
        (segment,) = folder.glob("*.segment")
        segment.write_bytes(segment.read_bytes().replace(b"two", b"tow"))
        books = Books()
        assert read_all(Reader(inherit(group), SINK, 0, books)) == [b"one", b"three"]
        assert books.lost == {"corrupt": 1}

    def test_foreign_file(self, open_journal, group):
        """A file that somebody else put there is left out."""
        folder = self.leave(open_journal(), b"one")
        (folder / "notes.segment").write_text("mine")
        assert read_all(reader(inherit(group))) == [b"one"]

    def test_empty_segment(self, open_journal, group):
        """A process that died before its first write leaves nothing to do."""
        folder = self.leave(open_journal())
        (segment,) = folder.glob("*.segment")
        segment.write_bytes(b"")
        inheritance = inherit(group)
        assert read_all(reader(inheritance)) == []

    def test_drafts(self, open_journal, tmp_path):
        """What is left of a folder whose process died while it removed it is swept up a minute later."""
        folder = self.leave(open_journal(), b"one")
        draft = folder.rename(folder.with_name(f".{folder.name}"))
        adoption.purge(tmp_path / "journal", 0)
        assert draft.exists()
        (segment,) = draft.glob("*.segment")
        os.utime(segment, (0, time.time() - 2 * adoption.DRAFT_SECONDS))
        adoption.purge(tmp_path / "journal", 0)
        assert not draft.exists()

    def test_purge(self, open_journal, tmp_path):
        """Journals that nobody adopts are removed when they are too old."""
        folder = self.leave(open_journal(), b"one")
        journals = tmp_path / "journal"
        assert adoption.purge(journals, folder.stat().st_mtime - 60) == 0
        assert adoption.purge(journals, folder.stat().st_mtime + 60) == 1
        assert not folder.exists()


class TestRoom:
    def test_floor(self, open_journal, monkeypatch, caplog):
        """Where the disk has less room than it must keep, records wait in memory until there is more."""
        free = [10_000.0]
        monkeypatch.setattr(files, "free_bytes", lambda _folder: free[0])
        log = open_journal(journal_min_free_bytes=20_000)
        assert log.append(b"one")
        assert not log.on_disk
        assert "journal_min_free_bytes is 20000" in caplog.text
        free[0] = 30_000.0
        assert log.recover()
        assert log.append(b"two")
        assert log.on_disk
        assert read_all(reader(log)) == [b"one", b"two"]

    def test_floor_while_writing(self, open_journal, monkeypatch):
        """That the disk gets full is noticed before it is."""
        log = open_journal(journal_min_free_bytes=1)
        log.append(b"one")
        monkeypatch.setattr(files, "free_bytes", lambda _folder: 0.0)
        log.keep_within_limits(0)
        assert log.append(b"two")
        assert not log.on_disk
        assert read_all(reader(log)) == [b"one", b"two"]

    def test_no_floor_at_the_end(self, open_journal, group, monkeypatch):
        """At the end of the process memory is written down to the last free byte."""
        monkeypatch.setattr(files, "free_bytes", lambda _folder: 5.0)
        log = open_journal()
        log.append(b"one")
        log.harden()
        log.close()
        assert read_all(reader(inherit(group))) == [b"one"]

    def test_real_disk(self, tmp_path):
        """A disk tells how much room it has."""
        assert 0 < files.free_bytes(tmp_path) <= shutil.disk_usage(tmp_path).total

    def test_too_large(self, open_journal, monkeypatch):
        """A record that no reader would take for one is refused."""
        monkeypatch.setattr(frames, "MAX_PAYLOAD", 10)
        log = open_journal()
        assert [log.append(b"." * 11), log.append(b"." * 10)] == [False, True]
        assert log.test_rejected == ["too_large"]

    def test_older_ones_first(self, open_journal, group):
        """At the quota what dead processes left is given up before what this one wrote."""
        dead = open_journal(journal_max_bytes=400_000)
        for number in range(60):
            dead.append(payload(number, 4000))
        dead.abandon()
        heritage = inherit(group)
        log = open_journal(journal_max_bytes=400_000)
        log.other_bytes, log.give_up_older = heritage.size, heritage.make_room
        for number in range(60):
            log.append(payload(number, 4000))
        assert len(read_all(reader(log))) == 60
        books = Books()
        assert len(read_all(Reader(heritage, SINK, 0, books))) + books.lost["journal_full"] == 60

    def test_reasons(self, open_journal, monkeypatch):
        """Records that were lost one after another for different reasons are counted under each."""
        monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)
        log = open_journal(journal_max_bytes=1 << 20, journal_max_age=60.0)
        for number in range(60):
            log.append(payload(number, 4000))
        expired = log.store.segments[1].first
        os.utime(log.store.segments[0].path, (0, 0))
        log.keep_within_limits(1000.0)
        damaged, following, *_ = log.store.segments
        damaged.path.write_bytes(b"")
        books = Books()
        read_all(Reader(log, SINK, 0, books))
        assert books.lost == {"expired": expired, "corrupt": following.first - expired}


class TestInterruption:
    @pytest.mark.parametrize("done", [True, False])
    def test_signal_handler_that_raises(self, open_journal, group, monkeypatch, done):
        """A record in the middle of which somebody pressed Ctrl-C takes no other with it, here or for the heir."""
        log = open_journal()
        log.append(b"one")
        write = os.write

        def interrupted(descriptor, data):
            if done:
                write(descriptor, data)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                log.append(b"interrupted")
        log.append(b"two")
        log.append(b"three")
        assert read_all(reader(log)) == [b"one", b"two", b"three"]
        log.append(b"four")
        log.abandon()
        heritage = inherit(group)
        assert read_all(reader(heritage, heritage.cursors[SINK])) == [b"four"]

    def test_close_while_others_sync(self, open_journal, group):
        """Closing waits for the thread whose record is on its way to the disk, and not the other way round."""
        log = open_journal(durability="always")
        acknowledged = []

        def write():
            acknowledged.extend(number for number in range(50) if log.append(payload(number)))

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        log.close()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)
        log.recover()
        log.abandon()
        found = [read_all(reader(heritage)) for heritage in adoption.adopt(group, [SINK])]
        assert len(acknowledged) == 200 == sum(map(len, found))


class TestSync:
    def test_names_too(self, open_journal, group, monkeypatch):
        """A power cut takes neither the records of an `always` journal nor the names of their files."""
        synced = set()
        monkeypatch.setattr(files, "sync_folder", synced.add)
        log = open_journal(durability="always")
        log.append(b"one")
        assert synced == {log.folder, group, group.parent}

    def test_failure(self, open_journal, monkeypatch, caplog):
        """When the disk does not confirm, that is said, and a new file is begun."""
        log = open_journal(durability="always")

        def fail(_descriptor):
            raise OSError(errno.EIO, "no")

        with monkeypatch.context() as patch:
            patch.setattr(files, "sync", fail)
            assert log.append(b"one")
        assert "cannot be written" in caplog.text
        assert log.append(b"two")
        assert log.recover()
        assert len(log.store.segments) == 2
        assert read_all(reader(log)) == [b"one", b"two"]

    def test_what_waited_in_memory(self, open_journal, group, monkeypatch):
        """Records that memory held are synced when they come to the disk."""
        group.parent.write_text("in the way")
        log = open_journal(durability="power")
        log.append(b"one")
        log.sync()
        synced = []
        monkeypatch.setattr(files, "sync", synced.append)
        group.parent.unlink()
        assert log.recover()
        assert len(synced) == 1


class TestDamage:
    def segments(self, open_journal, monkeypatch):
        monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)
        log = open_journal(journal_max_bytes=1 << 20)
        for number in range(100):
            log.append(payload(number, 4000))
        return log, log.store.segments

    def read(self, source):
        books = Books()
        found = [int(each.rstrip(b".")) for each in read_all(Reader(source, SINK, 0, books))]
        assert len(found) + books.lost["corrupt"] == 100
        return found

    def test_segments_that_are_gone(self, open_journal, monkeypatch):
        """Two segments in a row that somebody removed are counted, and the next ones read."""
        log, segments = self.segments(open_journal, monkeypatch)
        kept = [*range(segments[1].first), *range(segments[3].first, 100)]
        segments[1].path.unlink()
        segments[2].path.unlink()
        assert self.read(log) == kept

    @pytest.mark.parametrize("left", [0, 5, 20, 50, 5000])
    def test_cut_off(self, open_journal, monkeypatch, left):
        """A segment that somebody cut off, in the middle of whatever, is read as far as it goes."""
        log, segments = self.segments(open_journal, monkeypatch)
        os.truncate(segments[1].path, left)
        found = self.read(log)
        assert found[-1] == 99
        assert len(found) < 100

    def test_place_on_the_disk(self, open_journal, monkeypatch):
        """A part of the disk that gives no data costs the records in it."""
        log, segments = self.segments(open_journal, monkeypatch)
        pread = os.pread
        monkeypatch.setattr(reader_module, "CHUNK", 10_000)

        def fail_once(descriptor, size, offset):
            if offset < 30_000 <= offset + size and os.fstat(descriptor).st_ino == segments[1].path.stat().st_ino:
                raise OSError(errno.EIO, "no")
            return pread(descriptor, size, offset)

        monkeypatch.setattr(os, "pread", fail_once)
        found = self.read(log)
        assert 90 <= len(found) < 100

    @given(bit=st.integers(0, 12 * 8 - 1))
    @hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
    def test_start_of_a_segment(self, open_journal, group, bit):
        """A flipped bit in the first bytes of a segment costs nothing."""
        log = open_journal()
        log.append(b"one")
        (segment,) = log.store.segments
        damaged = bytearray(segment.path.read_bytes())
        damaged[bit // 8] ^= 1 << bit % 8
        segment.path.write_bytes(damaged)
        log.abandon()
        heritage = inherit(group)
        assert read_all(reader(heritage)) == [b"one"]

    @given(data=st.data())
    @hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
    def test_cursor(self, open_journal, group, data):
        """A flipped bit in a cursor leads to records that come twice, never to one that does not come."""
        log = open_journal()
        log.append(b"one")
        read_all(reader(log))
        log.append(b"two")
        path = log.folder / f"{SINK}.cursor"
        damaged = bytearray(path.read_bytes())
        bit = data.draw(st.integers(0, len(damaged) * 8 - 1))
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        log.abandon()
        heritage = inherit(group)
        assert read_all(reader(heritage, heritage.cursors[SINK])) in ([b"two"], [b"one", b"two"])

    def test_one_place_of_a_cursor(self, open_journal, group):
        """A cursor whose last write was torn is the one before."""
        log = open_journal()
        for number in range(4):
            log.append(b"%d" % number)
            log.commit(SINK, number + 1)
        path = log.folder / f"{SINK}.cursor"
        path.write_bytes(path.read_bytes().replace(b'"sequence":4', b'"sequence":9'))
        log.abandon()
        assert inherit(group).cursors == {SINK: 3}

    @pytest.mark.parametrize("last", [1, 2])
    def test_inherited_cursor(self, open_journal, group, last):
        """Who inherits a cursor does not write over the place that holds it."""
        log = open_journal()
        for number in range(4):
            log.append(b"%d" % number)
        for sequence in range(last):
            log.commit(SINK, sequence + 1)
        log.abandon()
        heritage = inherit(group)
        heritage.commit(SINK, 3)
        assert b'"sequence":%d' % last in (heritage.store.folder / f"{SINK}.cursor").read_bytes()

    def test_records_at_the_end(self, open_journal, group):
        """Several damaged records at the very end are counted one by one."""
        log = open_journal()
        for number in range(3):
            log.append(b"record %d" % number)
        (segment,) = log.store.segments
        segment.path.write_bytes(segment.path.read_bytes().replace(b"record 1", b"damage 1").replace(b"d 2", b"! 2"))
        log.abandon()
        heritage = inherit(group)
        assert (heritage.next, heritage.torn) == (1, 2)

    def test_folder_that_is_gone(self, open_journal, caplog):
        """That somebody removed the journal under us is noticed at the next look, and a new one begun."""
        log = open_journal()
        log.append(b"one")
        shutil.rmtree(log.folder)
        log.keep_within_limits(0)
        assert "removed" in caplog.text
        log.append(b"two")
        assert log.recover()
        log.append(b"three")
        assert read_all(reader(log)) == [b"two", b"three"]


class TestNetwork:
    MOUNTS = """\
22 27 0:21 / / rw,relatime - ext4 /dev/vda rw
23 22 0:22 / /data rw,relatime shared:7 - nfs4 server:/export rw
24 22 0:23 / /data/local\\040disk rw,relatime - xfs /dev/vdb rw
25 22 0:24 / /bucket rw - fuse.s3fs s3fs rw
26 22 0:25 / /cloud rw - fuse.lxcfs lxcfs rw
27 22 0:26 / /database rw - ext4 /dev/vdc rw
28 22 0:27 / /share rw - cifs //server/share rw
29 22 0:28 / /share rw - tmpfs tmpfs rw
"""

    @pytest.mark.parametrize(
        ("folder", "kind"),
        [
            ("/home/app", None),
            ("/data", "nfs4"),
            ("/data/journal", "nfs4"),
            ("/data/local disk/journal", None),
            ("/bucket/journal", "fuse.s3fs"),
            ("/cloud/journal", None),
            ("/database", None),
            ("/share", None),
        ],
    )
    def test_kind(self, tmp_path, monkeypatch, folder, kind):
        """The file system under a folder is the one mounted last at the nearest place above it."""
        monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mountinfo")
        mounts.MOUNTS.write_text(self.MOUNTS)
        assert mounts.network_file_system(folder) == kind

    def test_unknown(self, tmp_path, monkeypatch):
        """Where the mounts are not told, nothing is said."""
        monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "missing")
        assert mounts.network_file_system(tmp_path) is None

    def test_warning(self, open_journal, tmp_path, monkeypatch, caplog):
        """A journal on a network file system works, and that it is on one is said once."""
        monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mountinfo")
        mounts.MOUNTS.write_text(f"22 27 0:21 / {tmp_path} rw - nfs4 server:/export rw\n")
        assert open_journal().append(b"one")
        assert open_journal().append(b"two")
        assert caplog.text.count("network file system (nfs4)") == 1


def test_one_heir(open_journal, group):
    """Of many processes that find a dead one's journals, exactly one gets each of them."""
    for number in range(8):
        log = open_journal()
        log.append(payload(number))
        log.abandon()
    program = """
import sys
from pathlib import Path
from otel_llm.delivery.adoption import adopt
from otel_llm.delivery.reader import Reader
sys.stdin.readline()
for heritage in adopt(Path(sys.argv[1]), ["sink-1"]):
    print(Reader(heritage, "sink-1", 0, print).peek().payload.decode(), flush=True)
print("done", flush=True)
sys.stdin.readline()
"""
    heirs = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(group)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for heir in heirs:
        heir.stdin.write("go\n")
        heir.stdin.flush()
    found = [line for heir in heirs for line in iter(heir.stdout.readline, "done\n")]
    for heir in heirs:
        heir.communicate("end\n", timeout=30)
    assert sorted(int(line) for line in found) == list(range(8))


def test_store_reads_what_is_there(tmp_path):
    """A folder without segments is an empty store."""
    assert Store.load(tmp_path, [SINK]).next == 0
