"""Migrations against a real server: several at once, failing half way, user named as schema."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest

from vsek.errors import ServiceError
from vsek.store import migrate

_TABLES_SQL = """
SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default
FROM information_schema.columns
WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'vsek_migrations')
ORDER BY 1, 2, 3
"""


def test_applies_once_and_says_what_is_missing(empty_dsn: str) -> None:
    missing = migrate.pending(empty_dsn)
    assert missing[0] == "0001_store"
    assert missing == sorted(missing)
    assert migrate.apply(empty_dsn) == missing
    assert migrate.pending(empty_dsn) == []
    assert migrate.apply(empty_dsn) == []


def test_asking_what_is_missing_changes_nothing(empty_dsn: str) -> None:
    migrate.pending(empty_dsn)
    with psycopg.connect(empty_dsn) as connection:
        found = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'vsek%'")
        assert found.fetchall() == []


def test_several_processes_at_once(empty_dsn: str) -> None:
    ran: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: ran.append(migrate.apply(empty_dsn))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(names) for names in ran)[:3] == [0, 0, 0]
    assert len(ran) == 4
    assert migrate.pending(empty_dsn) == []


def test_a_migration_that_fails_leaves_nothing_and_can_be_repeated(
    empty_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE good (id int);\n")
    bad = tmp_path / "0002_bad.sql"
    bad.write_text("CREATE TABLE half (id int);\nSELECT 1 / 0;\n")
    monkeypatch.setattr(migrate, "folder", lambda: tmp_path)
    with pytest.raises(ServiceError, match="division by zero"):
        migrate.apply(empty_dsn)
    assert migrate.pending(empty_dsn) == ["0002_bad"]
    with psycopg.connect(empty_dsn) as connection:
        half = connection.execute("SELECT to_regclass('public.half')").fetchone()
        assert half == (None,)
    bad.write_text("CREATE TABLE half (id int);\n")
    assert migrate.apply(empty_dsn) == ["0002_bad"]


def test_a_template_clone_equals_a_fresh_schema(empty_dsn: str, postgres_dsn: str) -> None:
    migrate.apply(empty_dsn)
    with psycopg.connect(empty_dsn) as fresh, psycopg.connect(postgres_dsn) as cloned:
        columns = fresh.execute(_TABLES_SQL).fetchall()
        assert columns
        assert columns == cloned.execute(_TABLES_SQL).fetchall()


def test_no_server() -> None:
    with pytest.raises(ServiceError, match=r"cannot be migrated: .*refused") as caught:
        migrate.apply("postgresql://vsek@127.0.0.1:1/vsek")
    assert "database.dsn" in caught.value.remedy
