import threading

from otel_llm.delivery.loop import DaemonPool


class TestDaemonPool:
    def test_more_jobs_than_threads(self):
        """Jobs that hang do not hold up the next one: another thread takes it."""
        pool, let_go = DaemonPool(2), threading.Event()
        hanging = [pool.submit(let_go.wait, 30) for _ in range(5)]
        assert pool.submit(lambda: 7).result(10) == 7
        let_go.set()
        assert all(job.result(10) for job in hanging)

    def test_bound(self):
        """There are never more threads than allowed; what finds none waits for one."""
        pool, let_go = DaemonPool(1, most=2), threading.Event()
        seen: set[int] = set()

        def job():
            seen.add(threading.get_ident())
            return let_go.wait(30)

        jobs = [pool.submit(job) for _ in range(6)]
        let_go.set()
        assert all(each.result(10) for each in jobs)
        assert len(seen) <= 2

    def test_free_threads_are_used_again(self):
        """Jobs one after another need no further thread."""
        pool = DaemonPool(2)
        seen = {pool.submit(threading.get_ident).result(10) for _ in range(50)}
        assert len(seen) <= 3
