"""The store: what is put in comes out, once; in SQLite and in PostgreSQL."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from forked import CONTEXT
from results_records import (
    AT,
    BLOCK,
    CAMPAIGN,
    CHANGE,
    FAILED_BLOCK,
    FAILED_TRIAL,
    FINGERPRINT,
    NIGHT,
    NIGHTLY,
    NOTE,
    PLUS_ONE,
    TOTALS,
    TRIAL,
)
from sqlalchemy import create_engine, text

from harness.errors import InputError, StorageError, UnavailableError
from harness.results.model import NightStatus, NoteKind, TrialRecord
from harness.results.store import Store, default_url


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=[pytest.mark.integration, pytest.mark.xdist_group("postgresql")]),
    ]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'deep' / 'results.sqlite'}"
        return
    server: str = request.getfixturevalue("postgresql_url")
    schema = f"test_{os.getpid()}"
    engine = create_engine(server.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    yield f"{server}&options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store(url) as made:
        made.add_campaign(CAMPAIGN)
        made.add_fingerprint(FINGERPRINT)
        made.add_block(BLOCK)
        made.add_block(FAILED_BLOCK)
        yield made


def test_everything_comes_back_as_it_was(store: Store, url: str) -> None:
    assert store.add_trial(TRIAL)
    assert store.add_trial(FAILED_TRIAL)
    assert store.add_guest_totals(TOTALS)
    assert store.add_note(NOTE)
    with Store(url) as again:
        assert again.campaigns() == (CAMPAIGN,)
        assert again.fingerprints("quick-1") == (FINGERPRINT,)
        assert again.blocks("quick-1") == (BLOCK, FAILED_BLOCK)
        assert again.block(BLOCK.id) == BLOCK
        assert again.trials("quick-1") == (TRIAL, FAILED_TRIAL)
        assert again.trial(TRIAL.id) == TRIAL
        assert again.guest_totals("quick-1") == (TOTALS,)
        assert again.notes("quick-1") == (NOTE,)
        assert again.notes("quick-1", NoteKind.QUARANTINED, "rack2") == ()
        assert again.trial("nothing") is None


def test_adding_again_changes_nothing(store: Store) -> None:
    assert store.add_trial(TRIAL)
    assert not store.add_trial(replace(TRIAL, seconds=99.0, metrics=(), exits=()))
    assert store.trials("quick-1") == (TRIAL,)
    assert not store.add_campaign(replace(CAMPAIGN, seed=1))
    assert not store.add_block(replace(BLOCK, boot_id="other"))
    assert not store.add_fingerprint(replace(FINGERPRINT, host="rack2"))
    assert store.add_guest_totals(TOTALS)
    assert not store.add_guest_totals(replace(TOTALS, exits=()))
    assert store.campaign("quick-1").seed == CAMPAIGN.seed
    assert store.block(BLOCK.id) == BLOCK
    assert store.guest_totals("quick-1") == (TOTALS,)


def _add(url: str, barrier: object, results: multiprocessing.Queue[bool]) -> None:
    with Store(url) as store:
        barrier.wait()  # type: ignore[attr-defined]
        results.put(store.add_trial(TRIAL))


def test_two_processes_adding_one_trial_leave_it_once(store: Store, url: str) -> None:
    barrier, results = CONTEXT.Barrier(4), CONTEXT.Queue()
    processes = [CONTEXT.Process(target=_add, args=(url, barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    added = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(added) == [False, False, False, True]
    assert store.trials("quick-1") == (TRIAL,)


def test_a_trial_is_stored_whole_or_not_at_all(store: Store) -> None:
    broken = replace(TRIAL, exits=(TRIAL.exits[0], TRIAL.exits[0]))  # one (vCPU, reason) twice
    with pytest.raises(StorageError):
        store.add_trial(broken)
    assert store.trial(TRIAL.id) is None
    assert store.add_trial(TRIAL)
    assert store.trial(TRIAL.id) == TRIAL


def test_a_trial_without_its_block_is_refused(store: Store) -> None:
    with pytest.raises(StorageError, match="cannot be stored"):
        store.add_trial(replace(TRIAL, block_id="quick-1.b99"))


def test_times_are_utc_whatever_zone_they_came_in(store: Store) -> None:
    store.add_trial(replace(TRIAL, started_at=AT.astimezone(PLUS_ONE)))
    (found,) = store.trials("quick-1")
    assert found.started_at == AT
    assert found.started_at.utcoffset() == timedelta(0)
    with pytest.raises(StorageError, match="no time zone"):
        store.add_trial(replace(TRIAL, id="naive", started_at=AT.replace(tzinfo=None)))


def test_a_campaigns_end(store: Store) -> None:
    store.set_campaign_status("quick-1", "done", AT)
    assert store.campaign("quick-1") == replace(CAMPAIGN, status="done", ended_at=AT)


def test_campaigns_are_found_by_the_beginning_of_their_id(store: Store) -> None:
    store.add_campaign(replace(CAMPAIGN, id="quick-2", started_at=AT + timedelta(hours=1)))
    assert store.campaign("latest").id == "quick-2"
    assert store.campaign("quick-1").id == "quick-1"
    with pytest.raises(InputError, match="'quick' may be any of 2 campaigns: quick-2, quick-1"):
        store.campaign("quick")
    with pytest.raises(InputError, match="no campaign 'quikc-2'; did you mean 'quick-2'"):
        store.campaign("quikc-2")


def test_prometheus_agreement(store: Store) -> None:
    assert store.prometheus("quick-1") == (0, ())
    store.add_note(replace(NOTE, kind=NoteKind.PROMETHEUS, subject="rack1/a", text=""))
    store.add_note(replace(NOTE, kind=NoteKind.PROMETHEUS, subject="rack1/b", text="one\ntwo"))
    assert store.prometheus("quick-1") == (2, ("one", "two"))


def test_another_schema_version_is_refused_with_a_way_out(store: Store, url: str) -> None:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE schema_version SET version = 9"))
    engine.dispose()
    with pytest.raises(UnavailableError) as error:
        Store(url)
    assert error.value.what == "the results store has schema version 9, this harness needs 2"
    assert "NOHYPE_DATABASE_URL" in error.value.fix


def test_a_store_of_the_first_version_is_brought_up_to_date_and_loses_nothing(store: Store, url: str) -> None:
    store.add_trial(TRIAL)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:  # as version 1 made it
        for table in ("nights", "nightlies", "changes"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE schema_version SET version = 1"))
    engine.dispose()
    with Store(url) as again:
        assert again.trials("quick-1") == (TRIAL,)
        again.set_nightly(NIGHTLY)
        assert again.nightlies() == (NIGHTLY,)


def test_nights_and_changes_come_back_as_they_were_and_can_change(store: Store) -> None:
    store.set_nightly(replace(NIGHTLY, inventory="/old"))
    store.set_nightly(NIGHTLY)
    assert store.nightlies() == (NIGHTLY,)
    later = replace(NIGHT, night="2026-01-03", due_at=AT + timedelta(days=1), campaign_id="", started_at=None)
    store.set_night(later)
    store.set_night(NIGHT)
    ended = replace(NIGHT, status=NightStatus.FAILED, reason="why", ended_at=AT, digest="sent by mail")
    store.set_night(ended)
    assert store.nights("nightly") == (ended, later)
    assert store.nights("other") == ()
    store.set_change(CHANGE)
    acknowledged = replace(CHANGE, acknowledged_at=AT, note="the new compiler")
    store.set_change(acknowledged)
    assert store.changes("quick") == (acknowledged,)
    with pytest.raises(StorageError, match="cannot be stored"):
        store.set_night(replace(NIGHT, nightly="nosuch"))


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("nonsense", InputError, "the database URL cannot be understood"),
        ("mysql://localhost/x", InputError, "databases of kind 'mysql' are not supported"),
        ("sqlite:////proc/nothing/results.sqlite", UnavailableError, "the results store cannot be opened: unable to"),
        ("postgresql://u:secret@127.0.0.1:1/x", UnavailableError, "the results store cannot be opened: connection"),
    ],
)
def test_databases_that_cannot_be_used(url: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as error:
        Store(url)
    assert "secret" not in str(error.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "results.sqlite").write_text("nothing of the kind" * 100)
    with pytest.raises(UnavailableError, match="file is not a database"):
        Store(f"sqlite:///{tmp_path / 'results.sqlite'}")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'results.sqlite'}"
    with Store(url) as store:
        store.add_campaign(CAMPAIGN)
        store.add_block(replace(BLOCK, fingerprint=""))
    with Store(url) as store:
        with store._engine.connect() as connection:  # SQLite's own way of having no more room
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StorageError, match="the results store failed: database or disk is full"):
            all(store.add_trial(replace(TRIAL, id=f"t{number}", fingerprint="")) for number in range(1000))


def test_the_default_is_a_file_in_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOHYPE_STATE", str(tmp_path))
    monkeypatch.delenv("NOHYPE_DATABASE_URL", raising=False)
    assert default_url() == f"sqlite:///{tmp_path}/results.sqlite"
    with Store() as store:
        store.add_campaign(CAMPAIGN)
    with sqlite3.connect(tmp_path / "results.sqlite") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    monkeypatch.setenv("NOHYPE_DATABASE_URL", "postgresql://server/nohype")
    assert default_url() == "postgresql://server/nohype"


def test_records_have_no_field_that_is_not_stored() -> None:
    from harness.results.tables import TrialRow

    assert set(TrialRecord.__dataclass_fields__) == set(TrialRow.__mapper__.attrs.keys())
