"""The kernel's hist format as Linux 6.12 prints it, and to whom its rows belong."""

from pathlib import Path

import pytest
from fake_host import GUEST

from harness.onhost import counters, reasons, records
from harness.onhost.errors import AgentError

HIST = """\
# event histogram
#
# trigger info: hist:keys=common_pid,vcpu_id,exit_reason:vals=hitcount:sort=hitcount:size=4096 [active]
#

{ common_pid:       1234, vcpu_id:          0, exit_reason:        100 } hitcount:          2
{ common_pid:       1234, vcpu_id:          0, exit_reason:        123 } hitcount:       5021
{ common_pid:    4194303, vcpu_id:          1, exit_reason:       1024 } hitcount:   12345678
{ common_pid:         77, vcpu_id:          0, exit_reason: 4294967295 } hitcount:          1

Totals:
    Hits: 12350702
    Entries: 4
    Dropped: 3
"""
OTHER = """\
# event histogram
#
# trigger info: hist:keys=exit_reason:vals=hitcount:sort=hitcount:size=2048 [active]
#

{ exit_reason:        123 } hitcount:       9999

Totals:
    Hits: 9999
    Entries: 1
    Dropped: 7


"""
RECORD = GUEST._replace(vf="", vcpu_threads=(1234, 4194303), started_at=1.0)


def test_every_row_is_read() -> None:
    found = counters.parse(HIST)
    assert found is not None
    assert found.dropped == 3
    assert found.counts == {
        (1234, 0, 100): 2,
        (1234, 0, 123): 5021,
        (4194303, 1, 1024): 12345678,
        (77, 0, 0xFFFFFFFF): 1,
    }


@pytest.mark.parametrize("content", [OTHER + HIST, HIST + "\n" + OTHER])
def test_other_triggers_histograms_are_left_alone(content: str) -> None:
    assert counters.parse(content) == counters.parse(HIST)


@pytest.mark.parametrize("content", ["", "# no events\n", OTHER])
def test_not_set_up_is_told_from_no_exits(content: str) -> None:
    assert counters.parse(content) is None


def test_truncated_output_is_refused() -> None:
    with pytest.raises(AgentError, match="no totals"):
        counters.parse(HIST.partition("Totals")[0])


def test_rows_belong_to_the_guests_threads_alone() -> None:
    rows = counters.rows_of(RECORD, counters.parse(HIST))
    assert counters.named(rows, "svm") == [[0, "ioio", 5021], [0, "vintr", 2], [1, "npf", 12345678]]


def test_what_an_earlier_thread_with_the_same_id_did_is_not_counted() -> None:
    record = RECORD._replace(base=((1234, 0, 123, 5000), (1234, 0, 100, 2)))
    rows = counters.rows_of(record, counters.parse(HIST))
    assert counters.named(rows, "svm") == [[0, "ioio", 21], [1, "npf", 12345678]]


def test_an_ended_guest_keeps_its_last_counts_whoever_has_its_thread_ids_now() -> None:
    record = RECORD._replace(stopped=True, final=((1234, 0, 123, 7),))
    assert counters.rows_of(record, counters.parse(HIST)) == ((1234, 0, 123, 7),)


def test_the_exit_that_killed_a_guest_without_hypervisor_is_added() -> None:
    """The kernel's table holds what came before: the stub that saw the last exit has no tracepoint."""
    record = RECORD._replace(stub=((1234, 0, 0x7B, 1), (4194303, 1, 0x61, 1)))
    rows = counters.rows_of(record, counters.parse(HIST))
    assert counters.named(rows, "svm") == [[0, "ioio", 5022], [0, "vintr", 2], [1, "nmi", 1], [1, "npf", 12345678]]


def test_codes_of_one_name_are_added_up() -> None:
    # VMX: bit 26 tells of a bus lock beside the basic reason.
    rows = ((1, 0, 48, 5), (1, 0, 48 | 1 << 26, 2))
    assert counters.named(rows, "vmx") == [[0, "ept_violation", 7]]


@pytest.mark.parametrize(
    ("isa", "code", "name"),
    [
        ("svm", 0x60, "intr"),
        ("svm", 0x64, "vintr"),
        ("svm", 0x72, "cpuid"),
        ("svm", 0x78, "hlt"),
        ("svm", 0x7B, "ioio"),
        ("svm", 0x7C, "msr"),
        ("svm", 0x400, "npf"),
        ("svm", 0x14, "cr4_write"),
        ("svm", 0x4E, "excp14"),
        ("svm", 0xFFFFFFFF, "invalid"),
        ("svm", 0x999, "code_0x999"),
        ("vmx", 1, "external_interrupt"),
        ("vmx", 12, "hlt"),
        ("vmx", 0x80000021, "entry_failure_guest_state"),
        ("vmx", 0xFFF, "code_0xfff"),
    ],
)
def test_reason_names(isa: str, code: int, name: str) -> None:
    assert reasons.name(isa, code) == name


def _tracefs(root: Path, trigger: str = "# Available triggers:\n# traceon traceoff hist\n") -> Path:
    event = root / "sys/kernel/tracing/events/kvm/kvm_exit"
    event.mkdir(parents=True)
    (event / "trigger").write_text(trigger)
    return event


def test_setup_appends_and_keeps_other_triggers(tmp_path: Path) -> None:
    event = _tracefs(tmp_path, "hist:keys=exit_reason:vals=hitcount:sort=hitcount:size=2048 [active]\n")
    assert counters.setup(tmp_path)["changed"] is True
    lines = (event / "trigger").read_text().splitlines()
    assert lines == ["hist:keys=exit_reason:vals=hitcount:sort=hitcount:size=2048 [active]", counters.TRIGGER]
    assert counters.setup(tmp_path)["changed"] is False
    assert (event / "trigger").read_text().splitlines() == lines


def test_setup_recognises_the_trigger_as_the_kernel_shows_it(tmp_path: Path) -> None:
    _tracefs(tmp_path, "hist:keys=common_pid,vcpu_id,exit_reason:vals=hitcount:sort=hitcount:size=4096 [active]\n")
    assert counters.setup(tmp_path)["changed"] is False


def test_a_reading_holds_running_and_ended_guests(tmp_path: Path) -> None:
    event = _tracefs(tmp_path)
    (event / "hist").write_text(HIST)
    (tmp_path / "sys/module/kvm_amd").mkdir(parents=True)
    records.save(RECORD, tmp_path)
    records.save(RECORD._replace(name="g0", stopped=True, final=((9, 0, 0x78, 4),)), tmp_path)
    records.save(RECORD._replace(name="half-made", ready=False), tmp_path)
    reading = counters.reading(tmp_path)
    assert reading["dropped"] == 3
    assert reading["guests"] == {
        "g0": [[0, "hlt", 4]],
        "g1": [[0, "ioio", 5021], [0, "vintr", 2], [1, "npf", 12345678]],
    }


def test_a_reading_without_counting_says_how_to_begin(tmp_path: Path) -> None:
    _tracefs(tmp_path)
    with pytest.raises(AgentError) as caught:
        counters.reading(tmp_path)
    assert "counters setup" in caught.value.fix
