"""Answers recorded from Prometheus 2.53.3 (Debian trixie)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.hosts.model import Host
from harness.metrics.model import Sample
from harness.metrics.server import parse_vector
from harness.metrics.targets import Target, exporter_targets, write_targets
from harness.results.model import Fidelity

VECTOR = (
    '{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","host":"h1",'
    '"instance":"127.0.0.1:9999","job":"nohype"},"value":[1795481960.264,"1"]}]}}'
)
SCALAR = '{"status":"success","data":{"resultType":"scalar","result":[1795481960.266,"1"]}}'
EMPTY = '{"status":"success","data":{"resultType":"vector","result":[]}}'
MATRIX = '{"status":"success","data":{"resultType":"matrix","result":[]}}'
REFUSED = (
    '{"status":"error","errorType":"bad_data","error":"invalid parameter \\"query\\": 1:5: parse error: '
    'unclosed left parenthesis"}'
)


def test_samples() -> None:
    labels = {"__name__": "up", "host": "h1", "instance": "127.0.0.1:9999", "job": "nohype"}
    assert parse_vector(VECTOR, "up") == [Sample(labels, 1.0, 1795481960.264)]
    assert parse_vector(SCALAR, "scalar(vector(1))") == [Sample({}, 1.0, 1795481960.266)]
    assert parse_vector(EMPTY, "up") == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [(REFUSED, "unclosed left parenthesis"), (MATRIX, "gives a matrix"), ("<html>", "is not JSON")],
)
def test_answers_that_are_none(answer: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        parse_vector(answer, "sum(")


def test_targets(tmp_path: Path) -> None:
    hosts = [
        Host(name, address, 22, "u", Path("/k"), Path("/h"), Fidelity.SILICON, None, {"nohype_exporter_port": 9177})
        for name, address in (("b", "2001:db8::1"), ("a", "192.0.2.1"))
    ]
    targets = exporter_targets(hosts)
    assert targets == {"a": Target("192.0.2.1:9177"), "b": Target("[2001:db8::1]:9177")}
    write_targets(tmp_path / "targets.json", targets)
    assert json.loads((tmp_path / "targets.json").read_text()) == [
        {"targets": ["192.0.2.1:9177"], "labels": {"host": "a"}},
        {"targets": ["[2001:db8::1]:9177"], "labels": {"host": "b"}},
    ]
