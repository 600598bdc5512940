import json

from sink_harness import Harness


class JsonlHarness(Harness):
    """
    Reads the day's files.
    """

    misuses = (({"usage_retention_days": "ever"}, "usage_retention_days: found 'ever', expected a whole number"),)

    @property
    def options(self):
        return {"path": str(self.folder / "logs")}

    def arrived(self):
        files = sorted((self.folder / "logs" / "usage").glob("*.jsonl"))
        return [json.loads(line)["eventId"] for file in files for line in file.read_text().splitlines()]
