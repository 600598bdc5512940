import json

from sink_harness import Harness


class StdoutHarness(Harness):
    """
    Reads what pytest caught of the standard output.
    """

    variants = ({"output": "stdout"}, {"style": "json"})
    misuses = (({"output": "stdin"}, "output: found 'stdin', expected stdout or stderr"),)

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self._captured = request.getfixturevalue("capsys")
        self._text = ""

    def arrived(self):
        self._text += self._captured.readouterr().out
        return [json.loads(line)["event_id"] for line in self._text.splitlines()]
