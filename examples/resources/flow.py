"""Resources: set up where they are used, torn down afterwards, whatever happens.

One database file per run, one connection per worker, one transaction per task. What lands in the
database is no value of a task, so nobody could tell whether it is still there: ``cache=False``.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from flowkit import resource, task


@resource(scope="run")
def database() -> Iterator[Path]:
    """One file for the whole run; picklable, so that it reaches worker processes, too."""
    with TemporaryDirectory() as folder:
        yield Path(folder) / "sales.db"


@resource(scope="worker")
def connection(database: Path) -> Iterator[tuple[sqlite3.Connection, Lock]]:
    """One per worker process; the threads of that process share it, hence the lock."""
    opened = sqlite3.connect(database, timeout=30, check_same_thread=False)
    opened.execute("CREATE TABLE IF NOT EXISTS sales (shop TEXT, pieces INTEGER)")
    yield opened, Lock()
    opened.close()


@resource(scope="task")
def transaction(connection: tuple[sqlite3.Connection, Lock]) -> Iterator[sqlite3.Connection]:
    """One per attempt: committed when the task is over."""
    opened, lock = connection
    with lock, opened:
        yield opened


@task(each={"shop,pieces": [("Ayr", 3), ("Bath", 7), ("Leith", 13)]}, cache=False)
def saved(shop: str, pieces: int, transaction: sqlite3.Connection) -> str:
    """One row a shop, in a transaction of its own."""
    transaction.execute("INSERT INTO sales VALUES (?, ?)", (shop, pieces))
    return shop


@task(needs=["saved"], cache=False)
def sum_of_sales(transaction: sqlite3.Connection) -> int:
    """What all the shops sold; waits for all of them, and needs no value of theirs."""
    return int(transaction.execute("SELECT sum(pieces) FROM sales").fetchone()[0])
