import sqlite3
from contextlib import closing

from sink_harness import Harness


class SqliteHarness(Harness):
    """
    Asks the database, over a connection of its own.
    """

    misuses = (({"busy_timeout_ms": "soon"}, "busy_timeout_ms: found 'soon', expected a whole number"),)

    @property
    def options(self):
        return {"path": str(self.folder / "calls.db")}

    def arrived(self):
        with closing(sqlite3.connect(self.folder / "calls.db")) as database:
            return [event_id for (event_id,) in database.execute("SELECT event_id FROM llm_calls ORDER BY id")]
