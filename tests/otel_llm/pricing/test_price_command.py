"""`otel-llm price` as a person runs it."""

import argparse
import json
import sys

import pytest

from otel_llm.cli.price import add_parser, run


@pytest.fixture
def price(capsys, monkeypatch):
    """Run the command; give exit code, output and error output."""
    for name in ("OTEL_LLM_PRICES", "OTEL_LLM_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())

    def command(*words):
        code = run(parser.parse_args(["price", *words]))
        return code, *capsys.readouterr()

    return command


def test_the_arithmetic_is_shown_line_by_line(price):
    """
    gpt-4o lists 2.50, 1.25 cached and 10.00.
    """
    code, out, _ = price("gpt-4o", "--input", "1000", "--output", "500", "--cached", "200", "--at", "2026-11-20")
    assert code == 0
    assert out.splitlines() == [
        "openai/gpt-4o, 2026-11-20",
        "  800 input      \N{MULTIPLICATION SIGN} $2.50 / 1M  = $0.002000",
        "  200 cache read \N{MULTIPLICATION SIGN} $1.25 / 1M  = $0.000250",
        "  500 output     \N{MULTIPLICATION SIGN} $10.00 / 1M = $0.005000",
        "      total                      $0.007250",
        "source: book (genai-prices 0.2.3)",
    ]


def test_the_lines_of_a_long_prompt_are_at_its_tier(price):
    """
    Above 200,000 tokens claude-sonnet-4-5 lists 6 input, 7.50 and 12 cache writes.
    """
    words = "claude-sonnet-4-5 --input 300000 --output 0 --cache-write 1000 --cache-write-1h 400 --json"
    _, out, _ = price(*words.split())
    lines = [(line["units"], line["of"], line["price_usd"], line["amount_usd"]) for line in json.loads(out)["lines"]]
    assert lines == [
        (299_000, "input", "6", "1.794"),
        (600, "cache write", "7.5", "0.0045"),
        (400, "cache write 1h", "12", "0.0048"),
    ]


def test_json_has_the_total_in_plain_digits(price):
    """
    A single token costs 0.00000025 USD, not 2.5E-7.
    """
    _, out, _ = price("gpt-5", "--provider", "openai", "--batch", "--input", "1", "--output", "0", "--json")
    assert json.loads(out)["total_usd"] == "0.000000625"


def test_an_unknown_model_exits_1_with_the_nearest_names(price):
    """
    The reason, and what may have been meant.
    """
    code, out, _ = price("gpt-4oo", "--input", "1")
    assert code == 1
    assert "unknown: no price for openai/gpt-4oo" in out
    assert "nearest known models: gpt-4o" in out


@pytest.mark.parametrize("rich", [True, False])
def test_a_terminal_gets_a_table_if_rich_is_there(price, monkeypatch, rich):
    """
    The same amounts either way.
    """
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    _, out, _ = price("gpt-4o", "--input", "1000")
    assert "$2.50 / 1M" in out
    assert "$0.002500" in out
    assert ("│" in out) is rich


def test_a_model_may_carry_its_provider(price):
    """
    `azure-openai/gpt-4o` is gpt-4o at Azure.
    """
    _, out, _ = price("azure-openai/gpt-4o", "--input", "1")
    assert out.startswith("azure.ai.openai/gpt-4o")


def test_your_own_prices_and_discount_are_used(price, tmp_path, monkeypatch):
    """
    1000 at 2.00, a request at 0.01, 85 % of both.
    """
    path = tmp_path / "prices.yaml"
    path.write_text("models: {gpt-4o: {inputPer1M: 2, perRequest: 0.01}}\ndiscounts: {openai: 0.85}\nversion: mine\n")
    monkeypatch.setenv("OTEL_LLM_PRICES", str(path))
    code, out, _ = price("gpt-4o", "--input", "1000")
    assert code == 0
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["1000", "input", "\N{MULTIPLICATION SIGN}", "$2.00", "/", "1M", "=", "$0.002000"],
        ["1", "request", "\N{MULTIPLICATION SIGN}", "$0.01", "=", "$0.010000"],
        ["discount", "pay", "85", "%", "-$0.001800"],
        ["total", "$0.010200"],
        ["source:", "operator", "(mine)"],
    ]


def test_the_settings_file_may_hold_the_prices(price, tmp_path, monkeypatch):
    """
    The section `pricing` of the file named by OTEL_LLM_CONFIG counts here as in the application.
    """
    path = tmp_path / "otel-llm.yaml"
    path.write_text("pricing: {models: {gpt-4o: {inputPer1M: 3}}}\n")
    monkeypatch.setenv("OTEL_LLM_CONFIG", str(path))
    _, out, _ = price("gpt-4o", "--input", "1000")
    assert "$0.003000" in out


def test_mistakes_in_your_prices_are_all_told(price, tmp_path):
    """
    Exit code 2, and one line for each mistake.
    """
    path = tmp_path / "prices.yaml"
    path.write_text("models: {a: {inputPer1M: -1}}\ndiscounts: {openai: 9}\n")
    code, _, err = price("gpt-4o", "--prices", str(path))
    assert (code, len(err.splitlines())) == (2, 2)


@pytest.mark.parametrize("words", [["--input", "-1"], ["--at", "yesterday"]])
def test_a_wrong_option_is_refused(price, words, capsys):
    """
    The usual exit code of a command that was called wrongly.
    """
    with pytest.raises(SystemExit, match="2"):
        price("gpt-4o", *words)
    assert "error: argument" in capsys.readouterr().err
