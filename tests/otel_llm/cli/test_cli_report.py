"""`otel-llm report`."""

import builtins
import csv
import io
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from otel_llm.cli.main import main
from otel_llm.cli.report import moment
from otel_llm.errors import SettingsError
from otel_llm.formats import usage

DANGEROUS = "\x1b[31mred\x1b]0;title\x07\u202e"


@pytest.fixture
def report(capsys, record, tmp_path):
    """
    Give a function that reports on these events and gives what was printed.
    """

    def run(events, *arguments):
        assert main(["report", *arguments, "--db", str(record(tmp_path / "calls.db", *events))]) == 0
        return capsys.readouterr().out

    return run


class TestTable:
    def test_models_and_the_total(self, report, event):
        """
        By default calls are summed up by model, money is written out, and the total comes last.
        """
        other = {"gen_ai.request.model": "gpt-4o-mini", "gen_ai.usage.cost": 0.0000005}
        assert report([event(0), event(1), event(2, **other)]).splitlines() == [
            "model        calls  errors  input  output  p50 ms  p95 ms        cost",
            "gpt-4o           2       0    200      20     250     250   $0.000246",
            "gpt-4o-mini      1       0    100      10     250     250  $0.0000005",
            "total            3       0    300      30     250     250   $0.000246",
        ]

    def test_unknown_cost_is_said_to_be_unknown(self, report, event):
        """
        A group without a price is not free, and the number of its calls without a price is shown.
        """
        lines = report([event(0, **{"gen_ai.usage.cost": None})]).splitlines()
        assert (lines[0].split()[-2:], lines[-1].split()[-2:]) == (["cost", "unpriced"], ["unknown", "1"])

    def test_names_cannot_command_the_terminal(self, report, event):
        """
        Escape sequences and direction marks in a record's values are taken out.
        """
        shown = report([event(0, **{"gen_ai.request.model": DANGEROUS})])
        assert shown.splitlines()[1].startswith("red ")
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)

    def test_no_calls_is_a_table_of_nothing(self, report):
        """
        An empty database has a total of 0 calls at an unknown cost.
        """
        assert report([]).splitlines()[-1].split() == ["total", "0", "0", "-", "-", "unknown"]

    @pytest.mark.parametrize("columns", [60, 80, 200])
    def test_a_terminal_is_never_overrun(self, columns, record, event, tmp_path):
        """
        Where the terminal is narrow the less important columns go; cost stays.
        """
        told = {"gen_ai.usage.cache_read.input_tokens": 50, "otel_llm.attempts": 3, "gen_ai.usage.cost": 12.345678}
        path = record(tmp_path / "calls.db", event(0, **told), event(1, **{"otel_llm.status": "rate_limited"}))
        lines = on_terminal(["report", "--db", str(path)], columns).splitlines()
        assert max(map(len, lines)) <= columns
        assert "$12.345801" in lines[1]

    def test_without_rich_the_same_is_shown(self, monkeypatch, report, event):
        """
        Where rich is not installed a terminal gets the aligned text.
        """
        real = builtins.__import__

        def without_rich(name, *rest):
            if name.startswith("rich"):
                raise ImportError(name)
            return real(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without_rich)
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("TERM", "xterm")
        assert "$0.000123" in report([event(0)])


class TestCsv:
    def test_columns_and_unknowns(self, report, event):
        """
        CSV has every column, a plain decimal for money and nothing where nothing is known.
        """
        (line,) = csv.DictReader(io.StringIO(report([event(0, **{"gen_ai.usage.cost": 1e-7})], "day", "--csv")))
        told = (line["day"], line["calls"], line["cost_usd"], line["ttft_ms"])
        assert told == ("2026-11-03", "1", "0.0000001", "")

    @pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
    def test_no_cell_is_a_formula(self, name, report, event):
        """
        A spreadsheet that opens the report does not run what a label says.
        """
        shown = report([event(0, **{"otel_llm.label.x": name})], "label.x", "--csv")
        (line,) = csv.DictReader(io.StringIO(shown))
        assert line["label.x"].startswith("'")


class TestJson:
    def test_document(self, report, event):
        """
        JSON has the groups, the total and money with all its digits, none in exponents.
        """
        shown = report([event(0, **{"gen_ai.usage.cost": 1.5e-07})], "--json")
        document = json.loads(shown)
        assert (document["by"], document["groups"][0]["group"], document["total"]["calls"]) == ("model", "gpt-4o", 1)
        assert '"cost_usd": 0.00000015' in shown

    def test_control_characters_are_escaped(self, report, event):
        """
        Even the control characters that JSON allows are written as escapes, and come back as they were.
        """
        shown = report([event(0, **{"gen_ai.request.model": "a\x9b31mb\x1b"})], "--json")
        assert not {"\x9b", "\x1b"} & set(shown)
        assert json.loads(shown)["groups"][0]["group"] == "a\x9b31mb\x1b"


class TestFilters:
    @pytest.mark.parametrize(
        ("arguments", "calls"),
        [
            (["--since", "2026-11-03"], 2),
            (["--since", "2026-11-04"], 0),
            (["--until", "2026-11-03"], 2),
            (["--until", "2026-11-03T10:15:01Z"], 1),
            (["--since", "2026-11-03T10:15:01+00:00"], 1),
            (["--errors"], 1),
            (["--success"], 1),
            (["--label", "tenant=t1"], 1),
            (["--label", "tenant=t1", "--label", "tier=gold"], 0),
            (["--model", "gpt-4o"], 1),
            (["--provider", "anthropic"], 1),
            (["--user", "u-1"], 1),
        ],
    )
    def test_each_option_filters(self, arguments, calls, report, event):
        """
        Only the calls that fit are summed up.
        """
        failed = {
            "otel_llm.status": "error",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": "claude-sonnet-4-5",
            "otel_llm.label.tenant": "t1",
            "user.id": "u-1",
        }
        shown = report([event(0), event(5, **failed)], "none", "--json", *arguments)
        assert json.loads(shown)["total"]["calls"] == calls

    def test_limit_shortens_the_groups_and_not_the_total(self, report, event):
        """
        The total stays that of all groups.
        """
        events = [event(n, **{"gen_ai.request.model": f"m{n}", "gen_ai.usage.cost": 9.0 - n}) for n in range(4)]
        document = json.loads(report(events, "--json", "--limit", "2", "--offset", "1"))
        assert [group["group"] for group in document["groups"]] == ["m1", "m2"]
        assert document["total"]["calls"] == 4

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--since", "yesterdayish"], "--since: found 'yesterdayish'"),
            (["--label", "tenant"], "--label: found 'tenant', expected key=value"),
            (["dya"], "did you mean 'day'"),
        ],
    )
    def test_mistakes_are_told(self, arguments, told, capsys):
        """
        An option that cannot be read is named with what would be right.
        """
        assert main(["report", *arguments]) == 2
        assert told in capsys.readouterr().err


class TestMoment:
    def test_how_long_ago(self):
        """
        `7d` is seven days before now.
        """
        assert abs(moment("7d", "--since") - (datetime.now(UTC) - timedelta(days=7))) < timedelta(minutes=1)

    def test_a_date_is_utc_and_until_includes_it(self):
        """
        A bare date begins at midnight UTC; as an end it is the next midnight.
        """
        told = (moment("2026-11-03", "--since"), moment("2026-11-03", "--until", end_of_day=True))
        assert told == (datetime(2026, 11, 3, tzinfo=UTC), datetime(2026, 11, 4, tzinfo=UTC))

    @pytest.mark.parametrize("text", ["", "7 fortnights", "2026-13-01", "99999999999999d"])
    def test_anything_else_is_refused(self, text):
        """
        What is neither a moment nor a duration raises.
        """
        with pytest.raises(SettingsError, match="--since"):
            moment(text, "--since")


class TestStores:
    def test_jsonl_stores_are_read(self, capsys, event, tmp_path):
        """
        `--from-jsonl` sums up a folder of usage entries and says how many lines it could not read.
        """
        (tmp_path / "usage").mkdir()
        lines = usage.encode(event(0)) + b"\n" + usage.encode(event(1))[:40] + b"\n"
        (tmp_path / "usage" / "2026-11-03.jsonl").write_bytes(lines)
        assert main(["report", "--json", "--from-jsonl", str(tmp_path)]) == 0
        told = capsys.readouterr()
        assert (json.loads(told.out)["total"]["calls"], told.err) == (1, "1 lines could not be read\n")

    def test_the_sinks_own_path_is_the_default(self, capsys, monkeypatch, record, event, tmp_path):
        """
        Without `--db` the path that the sink was given is read.
        """
        monkeypatch.setenv("OTEL_LLM_SQLITE_PATH", str(record(tmp_path / "elsewhere.db", event(0))))
        assert main(["report", "none", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["total"]["calls"] == 1


def on_terminal(arguments: list[str], columns: int) -> str:
    """
    Give what the command prints where a terminal of so many columns reads, without its styles.
    """
    ours, theirs = pty.openpty()
    environ = os.environ | {"COLUMNS": str(columns), "TERM": "xterm"}
    environ.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "otel_llm.cli.main", *arguments]
    subprocess.run(command, stdout=theirs, env=environ, check=True, timeout=30)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as screen:
        shown = screen.read(65536).decode()
    return shown.replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\r", "")
