import openai
from opentelemetry import _logs

import otel_llm
from otel_llm import pipeline
from otel_llm.telemetry.log_record import LogRecordProcessor


class Broken(LogRecordProcessor):
    """
    Somebody else's processor, which fails for every record while it is on.
    """

    on = True

    def on_emit(self, _log_record):
        if self.on:
            raise RuntimeError("not today")

    def shutdown(self):
        self.on = False

    def force_flush(self, _timeout_millis=30000):
        return True


class TestForeignProcessor:
    def test_failure_costs_no_record(self, server, telemetry, tmp_path):
        """
        A log processor that raises before ours is reached loses neither the user's call nor its record.
        """
        otel_llm.configure(
            sinks={"sqlite": {"path": str(tmp_path / "calls.db")}}, journal_dir=str(tmp_path / "journal")
        )
        provider = _logs.get_logger_provider()
        broken = Broken()
        processors = provider._multi_log_record_processor._log_record_processors
        provider._multi_log_record_processor._log_record_processors = (broken, *processors)
        try:
            with openai.OpenAI(base_url=server.openai_url, api_key="sk-local") as client:
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
        finally:
            provider._multi_log_record_processor._log_record_processors = processors
        otel_llm.flush()

        assert pipeline.current().stats()["sqlite"].events_sent == 1
        assert len(telemetry.spans("otel_llm")) == 1
