"""The raters' answers, in SQLite: what is acknowledged is on the disk.

Write-ahead log and `synchronous = FULL`: a commit returns when the log is synced, so that neither a killed process nor
a machine that loses power takes an acknowledged answer with it. Stored are a random number a rater, what it answered,
and when it was last at a task; nothing else is known of anybody.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fader.errors import UserError
from fader.study.folder import Study

AWAY = 3600  # Seconds after which somebody in the middle of a task does not hold a place in it any more.
SCHEMA = """
CREATE TABLE IF NOT EXISTS secret (value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS assignments (
    rater TEXT NOT NULL, task TEXT NOT NULL, active INTEGER NOT NULL, PRIMARY KEY (rater, task)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    rater TEXT NOT NULL, task TEXT NOT NULL, item TEXT NOT NULL, answer INTEGER NOT NULL,
    PRIMARY KEY (rater, task, item)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Answer:
    rater: str
    task: str
    item: str
    answer: int
    """The position of the option, or of the choice."""


class Answers:
    """The answers to a study. Its methods may be called from any thread."""

    def __init__(self, study: Study) -> None:
        """Open the study's answers. Raises UserError if the file is no such database or cannot be written."""
        self._study = study
        self._items = {task.id: frozenset(item.id for item in task.items) for task in study.tasks}
        self._lock = threading.Lock()
        with _readable(study.answers):
            study.answers.touch(mode=0o600)
            self._database = sqlite3.connect(study.answers, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA trusted_schema = OFF")  # Nothing that a stranger's file defines is called.
            self._database.execute("PRAGMA busy_timeout = 10000")
            _refuse_others(self._database)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(SCHEMA)
            with self._transaction() as database:
                database.execute(
                    "INSERT INTO secret SELECT ? WHERE NOT EXISTS (SELECT * FROM secret)", [secrets.token_hex(16)]
                )

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def secret(self) -> str:
        """A random number of this study: the token of its link."""
        with self._reading():
            return str(self._database.execute("SELECT value FROM secret").fetchone()[0])

    def assigned(self, rater: str) -> list[str]:
        """The tasks that a rater has begun."""
        with self._reading():
            return [task for (task,) in self._database.execute("SELECT task FROM assignments WHERE rater = ?", [rater])]

    def answered(self, rater: str, task: str) -> set[str]:
        """The items of a task that a rater has answered."""
        with self._reading():
            found = self._database.execute("SELECT item FROM answers WHERE rater = ? AND task = ?", [rater, task])
            return {item for (item,) in found}

    def free(self, rater: str) -> list[str]:
        """The tasks that want a rater and that this one has not begun, the one with the fewest raters first."""
        with self._reading():
            return self._free(rater)

    def assign(self, rater: str, task: str) -> bool:
        """Give a rater a task, unless it is not free any more. Returns whether it is the rater's."""
        with self._transaction() as database:
            own = database.execute("SELECT 1 FROM assignments WHERE rater = ? AND task = ?", [rater, task]).fetchone()
            if own is None:
                if task not in self._free(rater):
                    return False
                database.execute("INSERT INTO assignments VALUES (?, ?, ?)", [rater, task, int(time.time())])
            return True

    def store(self, given: Answer) -> bool:
        """Store an answer; when this returns it is on the disk. An item that the rater has answered stays as it was.

        Returns whether the task is the rater's and has such an item. The answer's range is the caller's to check.
        """
        if given.item not in self._items.get(given.task, ()):
            return False
        with self._transaction() as database:
            now = int(time.time())
            own = database.execute(
                "UPDATE assignments SET active = ? WHERE rater = ? AND task = ?", [now, given.rater, given.task]
            )
            if own.rowcount == 1:
                self._insert(database, given)
            return own.rowcount == 1

    def store_all(self, given: Iterable[Answer]) -> int:
        """Store answers from elsewhere, all or none; returns how many are new."""
        with self._transaction() as database:
            return sum(self._insert(database, one) for one in given)

    def all(self) -> list[Answer]:
        """All answers to the study's items."""
        with self._reading():
            found = self._database.execute("SELECT rater, task, item, answer FROM answers ORDER BY task, item, rater")
            return [Answer(*row) for row in found if row[2] in self._items.get(row[1], ())]

    def _insert(self, database: sqlite3.Connection, given: Answer) -> int:
        values = [given.rater, given.task, given.item, given.answer]
        return database.execute("INSERT INTO answers VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", values).rowcount

    def _free(self, rater: str) -> list[str]:
        recently = int(time.time()) - AWAY
        raters = self._imported()
        own = set()
        counted = "SELECT COUNT(*) FROM answers a WHERE a.rater = s.rater AND a.task = s.task"
        for who, task, active, done in self._database.execute(
            f"SELECT rater, task, active, ({counted}) FROM assignments s"
        ):
            if task in raters:
                raters[task] += active >= recently or done >= len(self._items[task])
                own |= {task} if who == rater else set()
        wanting = [task for task, count in raters.items() if count < self._study.raters and task not in own]
        return sorted(wanting, key=lambda task: raters[task])

    def _imported(self) -> dict[str, int]:
        """By task, how many raters from elsewhere every one of its items has at least."""
        counts: dict[str, dict[str, int]] = {task: dict.fromkeys(items, 0) for task, items in self._items.items()}
        assigned = "SELECT 1 FROM assignments s WHERE s.rater = a.rater AND s.task = a.task"
        for task, item, count in self._database.execute(
            f"SELECT task, item, COUNT(*) FROM answers a WHERE NOT EXISTS ({assigned}) GROUP BY task, item"
        ):
            if item in counts.get(task, ()):
                counts[task][item] = count
        return {task: min(of_items.values()) for task, of_items in counts.items()}

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One thread at a time. Raises UserError where the database turns out to be damaged."""
        with self._lock, _readable(self._study.answers):
            yield

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # SQLite ends it itself where the disk is full.
                    self._database.execute("ROLLBACK")
                raise


def _refuse_others(database: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError unless the database is sound and has SCHEMA's tables, if any, and nothing else.

    A view in their place, or pages that hold themselves, could be read for ever.
    """
    defined = "SELECT type, name, tbl_name, sql FROM sqlite_master"
    with contextlib.closing(sqlite3.connect(":memory:")) as own:
        own.executescript(SCHEMA)
        expected = own.execute(defined).fetchall()
    if not set(database.execute(defined).fetchmany(len(expected) + 1)) <= set(expected):
        raise sqlite3.DatabaseError("it holds something else than the tables of answers")
    ((found,),) = database.execute("PRAGMA quick_check(1)").fetchall()
    if found != "ok":
        raise sqlite3.DatabaseError(str(found).splitlines()[-1])


@contextmanager
def open_answers(study: Study) -> Iterator[Answers]:
    """The answers to a study, closed at the end of the block."""
    answers = Answers(study)
    with contextlib.closing(answers):
        yield answers


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise UserError(f"{path}: it cannot be used as the study's answers ({error}).") from None
