"""`otel-llm journal` on journals that killed processes left."""

import io
import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from otel_llm.delivery.backlog import groups

HOLD = """
import sys
from pathlib import Path
from otel_llm.delivery.letters import Letters

letters = Letters(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""

TAKE = """
import os, sys, time
from otel_llm.delivery.files import try_lock

print(try_lock(os.open(sys.argv[1], os.O_WRONLY)), flush=True)
time.sleep(60)
"""


class TestLs:
    def test_nothing(self, journal, shop):
        """A directory that is not there yet is empty."""
        assert journal("ls") == (0, f"{shop.journal}: nothing waits\n")

    def test_dead_and_alive(self, journal, shop):
        """Processes are told apart by whether they live; what waits is counted per sink, with its age."""
        living = shop.process(3, end="alive")
        killed = shop.process(5)
        code, text = journal("ls")
        assert code == 0
        assert "shop: 1 living process, 1 dead" in text
        assert ["acme", "8", "1", "min", "0"] in [line.split() for line in text.splitlines()]
        rows = {
            line.split()[0]: line.split()[1:3] for line in text.splitlines() if " alive " in line or " dead " in line
        }
        assert rows[str(living.pid)] == ["alive", "3"]
        assert rows[str(killed.pid)] == ["dead", "5"]

    def test_json_and_orphans(self, journal, shop):
        """A sink that the settings do not have is named as one that nobody delivers to."""
        shop.leave(2, sinks="acme,jsonl")
        code, text = journal("ls", "--json")
        (group,) = json.loads(text)["groups"]
        found = {sink["sink"]: (sink["pending"], sink["orphaned"]) for sink in group["sinks"]}
        assert (code, group["service"]) == (0, "shop")
        assert found == {"acme": (2, None), "jsonl": (2, "no sink jsonl in the settings")}

    def test_a_terminal_gets_a_table(self, shop):
        """On a terminal rich draws the table, with the same words."""
        shop.leave(1)
        leader, follower = pty.openpty()
        command = [sys.executable, "-m", "otel_llm.cli.main", "journal", "ls"]
        environ = {**os.environ, "PYTHONPATH": str(shop.folder), "COLUMNS": "100", "TERM": "xterm"}
        subprocess.run(command, env=environ, stdout=follower, check=True)
        os.close(follower)
        text = b""
        while b"dead" not in text:
            text += os.read(leader, 65536)
        os.close(leader)
        assert b"shop: 0 living processes, 1 dead" in text


class TestDrain:
    def test_delivers_what_a_killed_process_left(self, journal, shop):
        """Everything arrives, the journal is gone, and the exit code is 0."""
        shop.process(7)
        code, text = journal("drain")
        assert (code, shop.numbers) == (0, list(range(7)))
        assert text.endswith("nothing is left\n")
        assert groups(shop.journal) == []

    def test_of_several_processes(self, journal, shop):
        """The journals of all dead processes are delivered; a living one keeps its own."""
        living = shop.process(4, end="alive")
        shop.process(3)
        shop.process(3)
        assert journal("drain")[0] == 0
        assert shop.numbers == [0, 0, 1, 1, 2, 2]
        (left,) = [each for group in groups(shop.journal) for each in group.journals]
        assert (left.process, left.alive, left.pending) == (str(living.pid), True, 4)

    def test_nothing_to_do(self, journal):
        """An empty directory is drained at once."""
        assert journal("drain") == (0, "nothing was left\n")

    def test_a_sink_that_is_down(self, journal, shop):
        """When a sink takes nothing the records stay, it is said why, and the exit code is 1."""
        shop.leave(3)
        shop.mood("down")
        code, text = journal("drain", "--patience", "0.3")
        assert code == 1
        assert "left: shop to acme: 3 records: ConnectionError" in text
        shop.mood("take")
        assert (journal("drain")[0], shop.numbers) == (0, [0, 1, 2])

    def test_another_service(self, journal, shop):
        """A service's records leave through its own settings only, unless asked otherwise."""
        shop.leave(2, service="other")
        code, text = journal("drain")
        assert (code, shop.numbers) == (1, [])
        assert "left: other to acme: 2 records: another service's; OTEL_SERVICE_NAME=other otel-llm journal" in text
        code, text = journal("drain", "--all-services", service=None)
        assert (code, shop.numbers) == (0, [0, 1])

    def test_a_sink_that_is_gone(self, journal, shop):
        """What waits for a sink that the settings lack stays, also when the others have everything."""
        shop.leave(2, sinks="acme,jsonl")
        code, text = journal("drain", "--json")
        told = json.loads(text)
        assert (code, shop.numbers, told["empty"]) == (1, [0, 1], False)
        assert told["left"] == ["shop to jsonl: 2 records: no sink jsonl in the settings"]
        assert [(sink["sink"], sink["delivered"]) for sink in told["sinks"]] == [("acme", 2)]

    def test_another_destination(self, journal, shop, monkeypatch):
        """A sink of the same name that goes elsewhere is not the one the records are for."""
        shop.leave(2)
        monkeypatch.setenv("OTEL_LLM_ACME_PATH", str(shop.folder / "elsewhere"))
        code, text = journal("drain")
        assert code == 1
        assert "the settings send acme to another place than these records are for" in text
        assert not (shop.folder / "elsewhere").exists()

    def test_refused_records_become_dead_letters(self, journal, shop):
        """What a sink refuses is not left in the journal: it lies in the dead letters."""
        shop.leave(4)
        shop.mood("picky")
        assert journal("drain")[0] == 0
        assert (shop.numbers, len(shop.letters)) == ([0, 2], 2)

    def test_another_folder(self, journal, shop, monkeypatch):
        """Where a path is relative it is said what it counts from."""
        shop.leave(1, sinks="jsonl")
        monkeypatch.setenv("OTEL_LLM_SINKS", "jsonl")
        (shop.folder / "elsewhere").mkdir()
        monkeypatch.chdir(shop.folder / "elsewhere")
        code, text = journal("drain")
        assert code == 1
        assert "(a relative path counts from this folder)" in text

    @pytest.mark.parametrize(("option", "value"), [("WHERE", "modle=gpt-4o"), ("SAMPLE", "most")])
    def test_a_mistake_in_the_settings(self, journal, shop, monkeypatch, option, value):
        """A sink that cannot be used for its settings' mistakes keeps its records, and nobody says it is gone."""
        shop.leave(1)
        monkeypatch.setenv(f"OTEL_LLM_ACME_{option}", value)
        code, text = journal("drain")
        assert (code, text) == (1, "left: shop to acme: 1 record: what is set for acme has mistakes\n")

    def test_a_missing_client(self, journal, shop, install, monkeypatch):
        """A sink that cannot be made keeps its records, and says what it needs."""
        install("acme_bus", "import a_client_that_is_missing", ("bus",), otel_llm_sink="bus = acme_bus:Bus")
        monkeypatch.setenv("OTEL_LLM_SINKS", "bus")
        shop.leave(2, sinks="bus")
        code, text = journal("drain")
        assert code == 1
        assert "left: shop to bus: 2 records: " in text
        assert "pip install 'acme_bus[bus]'" in text

    def test_two_at_once(self, shop, otel_llm):
        """Of two that drain at the same time each journal is delivered by one."""
        for _ in range(6):
            shop.leave(20)
        drains = [otel_llm("journal", "drain", **shop.environ()) for _ in range(2)]
        assert [process.wait(30) for process in drains] == [0, 0]
        assert shop.numbers == sorted([*range(20)] * 6)

    @pytest.mark.usefixtures("interruptible")
    def test_interrupted(self, shop, otel_llm):
        """Ctrl-C ends it; what had not arrived stays, and what had arrived does not come again."""
        shop.leave(4)
        shop.mood("stuck at 2")
        process = otel_llm("journal", "drain", **shop.environ(OTEL_LLM_BATCH_SIZE="1"))
        shop.wait_until_stuck()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        (group,) = groups(shop.journal)
        assert [waiting.pending for journal in group.left for waiting in journal.waiting.values()] == [2]

    def test_as_a_command(self, shop, otel_llm):
        """The command ends by itself, in a process of its own."""
        shop.process(3)
        process = otel_llm("journal", "drain", **shop.environ())
        assert process.wait(30) == 0
        assert "nothing is left" in process.stdout.read()
        assert shop.numbers == [0, 1, 2]


@pytest.fixture
def dead(journal, shop):
    """
    Give a shop with dead letters: the odd numbers of the first six.
    """
    shop.leave(6)
    shop.mood("picky")
    assert journal("drain")[0] == 0
    assert [letter["event"]["attributes"]["number"] for letter in shop.letters] == [1, 3, 5]
    return shop


class TestDead:
    def test_none(self, journal):
        """Without dead letters the exit code is 0."""
        assert journal("dead") == (0, "no dead letters\n")

    def test_list(self, journal, dead):  # noqa: ARG002
        """Each letter is a line with time, sink, tries and reason; nothing that was said to a model is shown."""
        code, text = journal("dead")
        lines = text.splitlines()
        assert (code, len(lines)) == (1, 4)
        assert lines[1].split()[1:4] == ["shop", "acme", "1"]
        assert "gpt-4o" in lines[1]
        assert "cannot take 1, near[CONTENT]" in lines[1]
        assert "canary" not in text

    def test_json(self, journal, dead):  # noqa: ARG002
        """As JSON each letter is a line; whole records only when asked for."""
        _, text = journal("dead", "--json")
        documents = [json.loads(line) for line in text.splitlines()]
        assert [(each["sink"], each["attempts"]) for each in documents] == [("acme", 1)] * 3
        assert "canary" not in text
        _, text = journal("dead", "--json", "--records")
        assert "canary" in json.loads(text.splitlines()[0])["event"]["attributes"]["gen_ai.input.messages"]


class TestReplay:
    def test_delivered(self, journal, dead):
        """Letters that are taken now arrive, and leave the file."""
        dead.mood("take")
        code, text = journal("replay")
        assert (code, dead.numbers, dead.letters) == (0, [0, 1, 2, 3, 4, 5], [])
        assert text.endswith("no dead letter is left\n")

    def test_dead_again(self, journal, dead):
        """Letters that are refused again stay, once each."""
        before = [letter["event_id"] for letter in dead.letters]
        code, text = journal("replay")
        assert code == 1
        assert [letter["event_id"] for letter in dead.letters] == before
        assert "left: shop to acme: 3 letters, see `otel-llm journal dead`" in text

    def test_a_sink_that_is_down(self, journal, dead):
        """While the sink is down every letter stays where it is."""
        before = dead.letters
        dead.mood("down")
        code, _ = journal("replay", "--patience", "0.3")
        assert (code, dead.letters) == (1, before)

    def test_killed_in_the_middle(self, journal, dead, otel_llm):
        """A replay that is killed loses no letter: what had not arrived is still in the file."""
        dead.mood("stuck at 3")
        process = otel_llm("journal", "replay", **dead.environ(OTEL_LLM_BATCH_SIZE="1"))
        dead.wait_until_stuck()
        process.kill()
        process.wait()
        left = {letter["event"]["attributes"]["number"] for letter in dead.letters}
        assert {3, 5} <= left
        dead.mood("take")
        assert (journal("replay")[0], set(dead.numbers)) == (0, set(range(6)))

    def test_two_at_once(self, journal, dead):
        """While one process replays the letters of a sink, another one is told so."""
        (file,) = dead.journal.glob("*/dead-letters/*.jsonl")
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            other.stdout.readline()
            assert journal("replay")[0] == 2
            other.communicate()
        assert len(dead.letters) == 3

    def test_unreadable_lines_stay(self, journal, dead):
        """A line that is no letter is neither sent nor lost."""
        (file,) = dead.journal.glob("*/dead-letters/*.jsonl")
        lines = file.read_text().splitlines()
        file.write_text("\n".join([lines[0], "{broken", *lines[1:]]) + "\n")
        dead.mood("take")
        assert journal("replay")[0] == 1
        assert (dead.numbers, file.read_text()) == ([0, 1, 2, 3, 4, 5], "{broken\n")

    def test_nothing(self, journal):
        """Without dead letters there is nothing to do."""
        assert journal("replay") == (0, "no dead letters\n")


class TestPurge:
    def test_yes(self, journal, shop):
        """What goes is named before it goes; a living process's journal is not touched."""
        living = shop.process(2, end="alive")
        killed = shop.process(3)
        code, text = journal("purge", "--yes")
        assert code == 0
        assert f"shop, dead process {killed.pid}: 3 records for acme" in text
        (left,) = [each for group in groups(shop.journal) for each in group.journals]
        assert (left.process, left.pending) == (str(living.pid), 2)

    @pytest.mark.parametrize(("answer", "left"), [("n\n", 1), ("\n", 1), ("y\n", 0)])
    def test_asks(self, journal, shop, monkeypatch, answer, left):
        """Without `--yes` nothing goes before somebody said so."""
        shop.leave(1)
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        code, _ = journal("purge")
        assert (code, len(groups(shop.journal))) == (left, left)

    def test_nobody_to_ask(self, journal, shop, monkeypatch):
        """Where nobody answers nothing is deleted."""
        shop.leave(1)
        monkeypatch.setattr("sys.stdin", io.StringIO())
        code, text = journal("purge")
        assert (code, len(groups(shop.journal))) == (1, 1)
        assert "--yes deletes without" in text

    def test_an_heir_is_faster(self, journal, shop, monkeypatch):
        """A journal that a living process takes over meanwhile is kept, and that is said."""
        shop.leave(2)
        (left,) = groups(shop.journal)[0].left
        heirs = []

        def take_over(_prompt):
            heirs.append(
                subprocess.Popen([sys.executable, "-c", TAKE, str(left.folder / "lock")], stdout=subprocess.PIPE)
            )
            heirs[0].stdout.readline()
            return "y"

        monkeypatch.setattr("builtins.input", take_over)
        code, text = journal("purge")
        heirs[0].kill()
        heirs[0].communicate()
        assert (code, left.folder.exists()) == (1, True)
        assert f"kept: another process has taken over the journal of {left.process}" in text

    def test_one_sink(self, journal, shop):
        """Only what that sink waits for is given up; the others still get theirs."""
        shop.leave(2, sinks="acme,jsonl")
        assert journal("purge", "--yes", "--sink", "jsonl")[0] == 0
        assert journal("drain")[0] == 0
        assert shop.numbers == [0, 1]

    def test_older_than(self, journal, shop):
        """What was written lately stays."""
        shop.leave(1)
        assert journal("purge", "--yes", "--older-than", "1h") == (0, "nothing to delete\n")

    def test_dead_letters(self, journal, dead):
        """Dead letters go only when they are named."""
        assert journal("purge", "--yes") == (0, "nothing to delete\n")
        code, text = journal("purge", "--yes", "--dead-letters")
        assert (code, dead.letters) == (0, [])
        assert "shop, acme: 3 dead letters" in text
