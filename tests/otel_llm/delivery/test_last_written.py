from math import inf

from otel_llm.delivery.store import last_written


class TestLastWritten:
    def test_folder_that_is_gone(self, tmp_path):
        """
        A folder that its owner renamed meanwhile is too new to be anybody else's.
        """
        assert last_written(tmp_path / ".7-1") == inf
