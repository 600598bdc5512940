"""
The journal against a list: whatever the disk does, and wherever the process dies, what was acknowledged is read.

Every call of the operating system that the journal makes passes `Disk`, which lets it through, fails it, does the half
of it, or ends the process there.
"""

import errno
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from otel_llm.delivery import adoption, journal
from otel_llm.delivery.journal import Journal
from otel_llm.delivery.reader import Reader
from otel_llm.delivery.spec import DeliverySettings

SINKS = ("fast", "slow", "late")
SEGMENT = 300
QUICK = {"deadline": None, "suppress_health_check": list(HealthCheck)}


class Crash(BaseException):
    """
    The process ends here.
    """


class Disk:
    """
    The operating system as the journal sees it: `arm` plans one fault, `broken` fails all that writes.
    """

    WRITING = ("write", "pwrite", "ftruncate", "replace", "rename", "mkdir", "unlink", "fdatasync", "fsync")

    def __init__(self):
        self.broken = None
        self.failed = None
        self.opened = set()
        self._real = {name: getattr(os, name) for name in (*self.WRITING, "open", "close", "fdopen")}
        self._countdown = None
        self._plan = None
        self._patch = pytest.MonkeyPatch()
        for name in (*self.WRITING, "open"):
            self._patch.setattr(os, name, self._through(name))
        self._patch.setattr(os, "close", self._close)
        self._patch.setattr(os, "fdopen", self._hand_over)

    def arm(self, fault):
        """
        Plan what happens at a later call: the kind, after how many others, how many bytes are written before.
        """
        self._countdown, self._plan = (None, None) if fault is None else (fault[1], fault)

    def leave(self):
        """
        Close what a dead process had open.
        """
        self.arm(None)
        for descriptor in tuple(self.opened):
            self._close(descriptor)

    def restore(self):
        self.leave()
        self._patch.undo()

    def _through(self, name):
        def call(*args, **options):
            writes = name in self.WRITING or bool(args[1] & (os.O_WRONLY | os.O_RDWR))
            if self._countdown is not None and writes:
                self._countdown -= 1
                if self._countdown < 0:
                    return self._fail(name, args)
            if self.broken and writes and self._refuses(name, args):
                raise OSError(self.broken, os.strerror(self.broken))
            done = self._real[name](*args, **options)
            if name == "open":
                self.opened.add(done)
            return done

        return call

    def _refuses(self, name, args):
        """
        Tell whether the broken disk refuses a call; a full one still lets files be removed and cut.
        """
        if self.broken == errno.ENOSPC:
            if name == "pwrite":
                return not os.fstat(args[0]).st_size
            return name in {"write", "mkdir"} or (name == "open" and not Path(args[0]).exists())
        return True

    def _fail(self, name, args):
        kind, _, cut = self._plan
        self.arm(None)
        self.failed = len(args[1]) if name in {"write", "pwrite"} else 0
        if name in {"write", "pwrite"}:
            part = args[1][: cut % (len(args[1]) + 1)]
            self._real[name](args[0], part, *args[2:])
            if kind == "short":
                return len(part)
            if kind == "error" and name == "write":
                self._real["ftruncate"](args[0], os.fstat(args[0]).st_size - len(part))
        if kind == "crash":
            raise Crash
        if kind == "interrupt":
            raise KeyboardInterrupt
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _hand_over(self, descriptor, *mode):
        self.opened.discard(descriptor)
        return self._real["fdopen"](descriptor, *mode)

    def _close(self, descriptor):
        self.opened.discard(descriptor)
        self._real["close"](descriptor)


def _one_life(group, fault):
    """
    Write and read a little, until it is over; gives the acknowledged numbers that no sink has, and what was to fail.
    """
    disk, owed = Disk(), set()
    disk.arm(fault)
    try:
        log = Journal(group, DeliverySettings(journal_dir=group.parent), [SINKS[0]], rejected=print, wake=lambda: None)
        log._segment_bytes = 100
        reader = Reader(log, SINKS[0], 0, print)
        for number in range(6):
            log.append(b"%d" % number + b"." * 20)
            owed.add(number)
            if number % 2:
                span = reader.begin()
                owed.discard(int(reader.peek().payload.rstrip(b".")))
                reader.take(span)
                reader.settle(span)
    except Crash:
        pass
    finally:
        disk.restore()
        journal.owned.clear()
    return owed, disk.failed


def _found(group):
    found = []
    for heritage in adoption.adopt(group, [SINKS[0]]):
        reader = Reader(heritage, SINKS[0], heritage.cursors[SINKS[0]], print)
        span = reader.begin()
        while (frame := reader.peek()) is not None:
            found.append(int(frame.payload.rstrip(b".")))
            reader.take(span)
        reader.settle(span)
        reader.close()
    return found


def test_every_crash(tmp_path):
    """At whatever call the process dies, and after whatever byte of a write, the next one has what was acknowledged."""
    lives, call, cut, size = 0, 0, 0, 0
    while size is not None:
        group = tmp_path / f"{lives}" / "group"
        owed, size = _one_life(group, ("crash", call, cut))
        found = _found(group)
        assert owed <= set(found)
        assert found == sorted(set(found))
        call, cut = (call, cut + 1) if size and cut < size else (call + 1, 0)
        lives += 1
    assert lives > 300


faults = st.none() | st.tuples(
    st.sampled_from(["crash", "error", "short", "interrupt"]), st.integers(0, 12), st.integers(0, 400)
)


class JournalMachine(RuleBasedStateMachine):
    """
    One process after another writes numbered records, and each sink reads them at its own pace.

    `owed` has, for each sink, what was acknowledged and is not read yet; `firm` what must never come again.
    """

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.disk = Disk()
        self.number = 0
        self.owed = {sink: set() for sink in SINKS}
        self.firm = {sink: set() for sink in SINKS}
        self.lost = {sink: Counter() for sink in SINKS}
        self.rejected = 0
        self.log = None

    @initialize(
        durability=st.sampled_from(["process", "power", "always"]),
        roomy=st.booleans(),
        when_full=st.sampled_from(["block", "drop_new", "drop_old"]),
    )
    def begin(self, durability, roomy, when_full):
        self.roomy = roomy
        self.options = DeliverySettings(
            journal_dir=self.folder / "journal",
            durability=durability,
            journal_max_bytes=1 << 30 if roomy else 5 * SEGMENT,
            buffer_size=10_000 if roomy else 5,
            when_full=when_full,
            batch_size=4,
        )
        self.group = self.options.journal_dir / "group"
        self.start()

    @rule(size=st.integers(0, 150), count=st.integers(1, 6), fault=faults)
    def append(self, size, count, fault):
        """
        Emit some records, with something going wrong at one of them.
        """

        def emit():
            for _ in range(count):
                self.number += 1
                if self.log.append(b"%d" % self.number + b"." * size):
                    self.numbers[self.log.next - 1] = self.number
                    for sink in SINKS:
                        self.owed[sink].add(self.number)

        self.attempt(emit, fault)

    @rule(sink=st.sampled_from(SINKS), count=st.integers(1, 8), fault=faults)
    def read(self, sink, count, fault):
        """
        Take some records to a sink, and settle them.
        """

        def take():
            for reader in self.readers[sink]:
                span, found = reader.begin(), []
                while len(found) < count and (frame := reader.peek()) is not None:
                    found.append(int(frame.payload.rstrip(b".")))
                    reader.take(span)
                assert found == sorted(found)
                assert not self.firm[sink] & set(found)
                self.owed[sink] -= set(found)
                reader.settle(span)
                if fault is None and self.disk.broken is None:
                    self.firm[sink] |= set(found)
                reader.skip_evicted()

        self.attempt(take, fault)

    @rule(fault=faults)
    def keep_house(self, fault):
        """
        Do what is done every second.
        """

        def tend():
            if not self.log.on_disk:
                self.log.recover()
            self.log.sync()
            self.log.keep_within_limits(0.0)
            self.adopt()

        self.attempt(tend, fault)

    @rule(number=st.sampled_from([errno.ENOSPC, errno.EROFS, errno.EIO]))
    def break_disk(self, number):
        self.disk.broken = number

    @rule()
    def mend_disk(self):
        self.disk.broken = None

    @rule(fault=faults)
    def end_well(self, fault):
        """
        Let the process end as it should, and start the next.
        """

        def end():
            self.log.harden()
            self.forget_memory()
            self.log.close()

        self.attempt(end, fault)
        self.die()

    @rule()
    def die(self):
        """
        Kill the process, and start the next.
        """
        self.forget_memory()
        self.disk.leave()
        journal.owned.clear()
        self.start()

    @invariant()
    def within_quota(self):
        if self.log is not None and self.log.store is not None and not self.roomy:
            assert self.log.store.size <= self.options.journal_max_bytes + SEGMENT

    def start(self):
        self.readers = {sink: [] for sink in SINKS}
        self.numbers = {}
        self.log = Journal(self.group, self.options, SINKS, rejected=self.reject, wake=lambda: None)
        self.log._segment_bytes = SEGMENT
        for sink in SINKS:
            self.readers[sink].append(self.reader(self.log, sink, 0))
        self.adopt()

    def adopt(self):
        for heritage in adoption.adopt(self.group, SINKS):
            for sink, start in heritage.cursors.items():
                self.readers[sink].append(self.reader(heritage, sink, start))

    def reader(self, source, sink, start):
        return Reader(source, sink, start, lambda reason, count: self.lost[sink].update({reason: count}))

    def attempt(self, work, fault):
        self.disk.arm(fault)
        try:
            work()
        except Crash:
            self.die()
        except KeyboardInterrupt:
            pass
        finally:
            self.disk.arm(None)

    def forget_memory(self):
        """
        Forget what only memory held: it is not promised when the process ends.
        """
        dropped = [
            self.numbers[at]
            for gap in self.log._gaps._known
            if gap.reason == "buffer_full"
            for at in range(gap.first, gap.end)
        ]
        held = [int(frame.payload.rstrip(b".")) for frame in self.log._ring.since(0, 1 << 30)]
        for sink in SINKS:
            self.owed[sink] -= {*dropped, *held}

    def reject(self, _reason):
        self.rejected += 1

    def teardown(self):
        try:
            if self.log is not None:
                self.drain()
        finally:
            self.disk.restore()
            journal.owned.clear()
            shutil.rmtree(self.folder)

    def drain(self):
        """
        When all is well again, every sink gets what it is owed; what it does not get was counted.
        """
        self.disk.broken = None
        assert self.log.recover()
        self.adopt()
        for sink in SINKS:
            for _ in range(1 + self.number // 100):
                self.read(sink, 100, None)
            lost = self.lost[sink]
            if self.roomy:
                assert not self.owed[sink], (self.owed[sink], lost)
                assert not lost
            assert len(self.owed[sink]) <= lost.total()


JournalMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, **QUICK)
TestJournal = JournalMachine.TestCase


class _Long(JournalMachine):
    """The same, for longer."""


_Long.TestCase.settings = settings(max_examples=300, stateful_step_count=50, **QUICK)


@pytest.mark.slow
class TestJournalForLonger(_Long.TestCase):
    """The same, for longer."""
