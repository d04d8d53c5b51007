"""Exports and artifacts."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from results_records import BLOCK, CAMPAIGN, FAILED_BLOCK, FAILED_TRIAL, FINGERPRINT, NOTE, TOTALS, TRIAL
from small_file_system import small_file_system

from harness.errors import InputError, StorageError
from harness.results.artifacts import new_folder, write_json, write_text
from harness.results.export import COLUMNS, export
from harness.results.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(f"sqlite:///{tmp_path / 'results.sqlite'}")
    made.add_campaign(CAMPAIGN)
    made.add_fingerprint(FINGERPRINT)
    for block in (BLOCK, FAILED_BLOCK):
        made.add_block(block)
    for trial in (TRIAL, FAILED_TRIAL):
        made.add_trial(trial)
    made.add_guest_totals(TOTALS)
    made.add_note(NOTE)
    return made


def test_csv_has_a_row_for_each_figure_with_its_provenance(store: Store, tmp_path: Path) -> None:
    path = export(store, "quick-1", "csv", tmp_path / "out.csv")
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [(row["kind"], row["name"], row["vcpu"], row["value"]) for row in rows] == [
        ("metric", "events_per_second", "", "3326.49"),
        ("metric", "a", "", "0.1"),
        ("exits", "hlt", "0", str(float(2**40))),
        ("exits", "ioio", "0", "3.0"),
        ("exits", "hlt", "1", "5.0"),
        ("none", "", "", ""),
    ]
    assert {row["fidelity"] for row in rows} == {"emulated"}
    assert {row["revision"] for row in rows} == {"abc-dirty"}
    assert {row["seed"] for row in rows} == {str(2**62)}
    assert rows[-1]["failure"] == 'host quarantined, see\n"it"'
    assert (rows[0]["unit"], rows[0]["direction"]) == ("1/s", "higher")


def test_parquet_holds_the_same_with_types(store: Store, tmp_path: Path) -> None:
    path = export(store, "quick-1", "parquet", tmp_path / "out.parquet")
    table = pq.read_table(path)
    assert table.schema.equals(COLUMNS)
    assert table.num_rows == 6
    first = table.to_pylist()[0]
    assert first["value"] == 3326.49
    assert first["started_at"] == TRIAL.started_at
    assert first["vcpu"] is None


def test_json_has_everything(store: Store, tmp_path: Path) -> None:
    document = json.loads(export(store, "quick-1", "json", tmp_path / "out.json").read_text())
    assert document["campaign"]["spec_text"] == CAMPAIGN.spec_text
    assert [trial["id"] for trial in document["trials"]] == [TRIAL.id, FAILED_TRIAL.id]
    assert document["trials"][0]["exits"][0] == {"vcpu": 0, "reason": "hlt", "count": 2**40}
    assert document["guest_totals"][0]["guest"] == "g"
    assert document["fingerprints"][0]["facts"]["cpu.model"] == "EPYC"
    assert document["notes"][0]["kind"] == "quarantined"
    assert len(document["blocks"]) == 2


def test_an_export_replaces_no_file_and_leaves_no_half_one(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("mine")
    with pytest.raises(InputError, match="there is such a file already"):
        export(store, "quick-1", "csv", path)
    assert path.read_text() == "mine"
    with pytest.raises(InputError, match="unknown format 'parket'; did you mean 'parquet'"):
        export(store, "quick-1", "parket", tmp_path / "x")
    with pytest.raises(StorageError, match="cannot be written"):
        export(store, "quick-1", "csv", tmp_path / "no" / "such" / "folder.csv")
    assert not list(tmp_path.glob(".out*"))


def test_artifacts_are_never_overwritten(tmp_path: Path) -> None:
    write_text(tmp_path / "output.txt", "one\n")
    write_text(tmp_path / "output.txt", "one\n")  # the same again is fine
    with pytest.raises(StorageError, match="never overwritten"):
        write_text(tmp_path / "output.txt", "two\n")
    assert (tmp_path / "output.txt").read_text() == "one\n"
    write_json(tmp_path / "a.json", {"b": 1, "a": [2]})
    assert (tmp_path / "a.json").read_text() == '{\n "a": [\n  2\n ],\n "b": 1\n}\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "output.txt"]


def test_a_trial_that_is_run_again_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    made = [new_folder(tmp_path / "blocks" / "b01", "t01-cpu-r1").name for _ in range(3)]
    assert made == ["t01-cpu-r1", "t01-cpu-r1-2", "t01-cpu-r1-3"]


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system of its own needs root: sudo tests/run")
def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    with small_file_system(tmp_path, "16k"):
        with pytest.raises(StorageError) as error:
            write_text(tmp_path / "big.txt", "x" * 100_000)
        assert error.value.what == "artifacts cannot be written: No space left on device"
        assert "NOHYPE_STATE" in error.value.fix
        assert list(tmp_path.iterdir()) == []
