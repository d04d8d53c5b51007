"""The committed JSON is that of the code, and follows the rules of Grafana's dashboard-linter that apply.

Of its rules (github.com/grafana/dashboard-linter, docs/rules) those tested here have their names in the tests. Left
out: template-job, template-instance, target-job and target-instance, for series are told apart by host and campaign,
and the name of a scrape job is its owner's choice; target-counter-agg, for a campaign's totals are what its panels ask
for; and the rules about Loki. target-promql: tests/integration/test_dashboards_queries.py asks a Prometheus.
"""

from __future__ import annotations

import json
import re

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.documents import FOLDER, documents
from dashboards.house import STACK_COLOURS
from harness import stacks
from harness.paths import repo_root
from harness.telemetry.catalogue import GROUPS

TEXTS = documents()
DOCUMENTS = {name: json.loads(text) for name, text in TEXTS.items()}
KNOWN_UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}


@pytest.fixture(params=DOCUMENTS)
def dashboard(request: pytest.FixtureRequest) -> dict[str, object]:
    return DOCUMENTS[request.param]


@pytest.fixture
def panels(dashboard):
    return dashboard["panels"]


def queries(dashboard) -> list[str]:
    return [
        *(target["expr"] for panel in dashboard["panels"] for target in panel["targets"]),
        *(each["expr"] for each in dashboard.get("annotations", {}).get("list", [])),
        *(each["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"),
    ]


def test_the_committed_json_is_current():
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert committed == TEXTS, "run: python -m dashboards"


def test_json_survives_the_sdk(dashboard):
    """Every key is one that the SDK's types for Grafana 11.6 know."""
    register_default_plugins()
    again = Dashboard.from_json(dashboard)
    assert json.loads(json.dumps(again, cls=JSONEncoder)) == dashboard


def test_panel_title_description(panels):
    for panel in panels:
        assert panel["title"], panel
        assert panel["description"], panel["title"]
    assert len({panel["title"] for panel in panels}) == len(panels)


def test_panel_units(panels):
    for panel in panels:
        assert panel["fieldConfig"]["defaults"]["unit"] in KNOWN_UNITS, panel["title"]


def test_panel_no_targets_and_panel_datasource(panels):
    for panel in panels:
        assert panel["targets"], panel["title"]
        for place in (panel, *panel["targets"]):
            assert place["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs), panel["title"]


def test_target_rate_interval(dashboard):
    for expr in queries(dashboard):
        for window in re.findall(r"\b(?:i?rate)\([^[]*\[([^\]]*)\]", expr):
            assert window == "$__rate_interval", expr


def test_template_datasource(dashboard):
    first = dashboard["templating"]["list"][0]
    assert (first["name"], first["label"], first["type"]) == ("datasource", "Data source", "datasource")


def test_template_on_time_change_reload(dashboard):
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["refresh"] == 2, variable["name"]


def test_uneditable_dashboard(dashboard):
    assert dashboard["editable"] is False


def test_every_variable_is_used_and_every_used_one_is_there(dashboard):
    known = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$(?!__)(\w+)", " ".join(queries(dashboard))))
    assert used | {"datasource"} == known


def test_every_metric_is_in_the_catalogue(dashboard):
    known = {metric.name for group in GROUPS for metric in group.metrics}
    for expr in queries(dashboard):
        assert set(re.findall(r"\bnohype_\w+", expr)) <= known, expr


def test_dashboards_are_linked_and_panels_fill_the_grid(dashboard):
    (link,) = dashboard["links"]
    assert link["tags"] == dashboard["tags"] == ["nohype"]
    assert link["includeVars"]
    assert link["keepTime"]
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    height = max(y for _x, y in taken) + 1
    assert len(taken) == 24 * height, "there is a gap"


def test_the_page_lists_every_dashboard():
    text = (repo_root() / "docs/how-to/observability.md").read_text(encoding="utf-8")
    for document in DOCUMENTS.values():
        assert document["title"] in text


def test_every_stack_has_a_colour_of_its_own() -> None:
    assert set(STACK_COLOURS) == set(stacks.names())
    assert len(set(STACK_COLOURS.values())) == len(STACK_COLOURS)
