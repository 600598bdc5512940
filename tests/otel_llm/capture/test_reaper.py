import threading

from otel_llm.capture.reaper import Reaper


class Answer:
    """
    An open answer that notes how it ended, and on which thread.
    """

    def __init__(self):
        self.ends = []

    def ended(self, end):
        self.ends.append((end, threading.current_thread().name))

    def disowned(self):
        self.ends.append("disowned")


class TestReaper:
    def test_dropped(self):
        """
        What a finaliser hands over is finished by the reaper's thread, and `drain` waits for it.
        """
        reaper, answer = Reaper(), Answer()
        reaper.watch(answer)
        reaper.put(answer)
        reaper.drain()

        assert answer.ends == [("closed", "otel-llm-reaper")]

    def test_without_thread(self):
        """
        Where no thread runs, `drain` does its work.
        """
        reaper, answer = Reaper(), Answer()
        reaper.put(answer)
        reaper.drain()

        assert answer.ends == [("closed", threading.current_thread().name)]

    def test_open_at_the_end(self):
        """
        Every answer that is still open ends with the process.
        """
        reaper, answers = Reaper(), [Answer(), Answer()]
        for answer in answers:
            reaper.watch(answer)
        reaper.end_all()

        assert [answer.ends[0][0] for answer in answers] == ["closed", "closed"]

    def test_forked_child(self):
        """
        A forked child leaves the answers that are open to its parent, and tells them so.
        """
        reaper, answer = Reaper(), Answer()
        reaper.watch(answer)
        reaper.forget()
        reaper.end_all()

        assert answer.ends == ["disowned"]
