"""The door to what is on disk: a commit is seen by whoever looks after it, from any thread."""

import threading

import pytest

from flowkit_plugins.cache.storage import Storage
from flowkit_plugins.cache.traces import Trace, Traces


def trace(key):
    return Trace(key, "clean", f"d-{key}", None, "success", took=0.5, created=1000.0)


class Slow(Traces):
    """Traces whose keys take long to be read, until they are let go."""

    def __init__(self, file):
        super().__init__(file)
        self.reading, self.go_on = threading.Event(), threading.Event()

    def keys_after(self, row):
        found = super().keys_after(row)
        if threading.current_thread() is not threading.main_thread():
            self.reading.set()
            assert self.go_on.wait(10)
        return found


@pytest.fixture
def storage(tmp_path):
    storage = Storage(tmp_path)
    storage.traces = Slow(tmp_path / "traces.db")
    yield storage
    storage.close()


def test_a_result_is_found_while_another_thread_reads_the_keys(storage, tmp_path):
    Traces(tmp_path / "traces.db").commit([trace("aa")])
    other = threading.Thread(target=storage.find, args=["aa"])
    other.start()
    assert storage.traces.reading.wait(10)
    try:
        assert storage.find("aa") == trace("aa")
    finally:
        storage.traces.go_on.set()
        other.join()
