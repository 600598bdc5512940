import threading

import pytest

from otel_llm.delivery.adoption import bytes_of


@pytest.fixture
def coming_and_going(tmp_path):
    """
    Give a group in which another process makes journals and removes them.
    """
    ended = threading.Event()

    def work():
        while not ended.is_set():
            folder = tmp_path / "7-1"
            folder.mkdir()
            folder.rename(tmp_path / ".7-1").rmdir()

    thread = threading.Thread(target=work)
    thread.start()
    yield tmp_path
    ended.set()
    thread.join()


class TestBytesOf:
    def test_segments(self, tmp_path):
        """
        All that other journals have in segments counts, and nothing else.
        """
        for folder in ("7-1", "8-1", "9-1"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "0.segment").write_bytes(b"12345")
            (tmp_path / folder / "lock").write_bytes(b"1")
        assert bytes_of(tmp_path, besides=tmp_path / "8-1") == 10

    def test_folders_that_go_meanwhile(self, coming_and_going):
        """
        A journal that its process removes at this moment has nothing.
        """
        assert {bytes_of(coming_and_going, besides=None) for _ in range(3_000)} == {0}
