"""The documentation's examples are valid, its links lead somewhere, and its tables name every command and key."""

import re

import pytest
import yaml

from harness.campaign.spec import CampaignSpec, Deadlines, GuestSize, WorkloadUse
from harness.cli import campaign, exits, guest, hosts, image, rack, results
from harness.config import FileModel, validate
from harness.hosts.variables import BmcVariables, HostVariables
from harness.paths import repo_root
from harness.rack.description import HostDescription, RackDescription
from harness.workloads.spec import Metric, Needs, Parse, Workload

ROOT = repo_root()
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
KINDS = ((("boots", "stacks"), CampaignSpec), (("command", "metrics"), Workload), (("deterministic",), RackDescription))
MADE_LATER = {"docs/img/report.png"}  # a picture of a real run


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def examples():
    for path in PAGES:
        for number, block in enumerate(
            re.findall(r"^ *```yaml\n(.*?)^ *```", path.read_text(encoding="utf-8"), re.M | re.S)
        ):
            document = yaml.safe_load(block)
            for keys, model in KINDS:
                if any(key in document for key in keys):
                    yield pytest.param(document, model, id=f"{path.name}-{number}")
                    break
            else:
                raise AssertionError(f"{path}: an example of no known kind: {sorted(document)}")


@pytest.mark.parametrize(("document", "model"), list(examples()))
def test_examples_are_valid(document, model):
    validate(document, model, lambda loc: "example")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        found = (path.parent / target).resolve() if target else path
        assert found.exists() or target in MADE_LATER, target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.M)
            assert anchor[1:] in [re.sub(r"[^a-z0-9 -]", "", text.lower()).replace(" ", "-") for text in headings]


GROUPS = {
    "campaign": campaign,
    "exits": exits,
    "guest": guest,
    "hosts": hosts,
    "image": image,
    "rack": rack,
    "results": results,
}


@pytest.mark.parametrize("name", GROUPS)
def test_every_command_of_a_group_is_listed(name):
    listed = page("reference/cli.md")
    for command in GROUPS[name].app.registered_commands:
        assert command.callback is not None
        word = command.name or command.callback.__name__.replace("_", "-")
        assert f"`{name} {word}" in listed


@pytest.mark.parametrize("single", ["compare", "report", "doctor", "hosts", "provision", "quickstart"])
def test_every_single_command_is_listed(single):
    assert f"| `{single}" in page("reference/cli.md")


@pytest.mark.parametrize(
    ("name", "model", "start"),
    [
        ("reference/campaign-file.md", CampaignSpec, ""),
        ("reference/campaign-file.md", GuestSize, "guest."),
        ("reference/campaign-file.md", WorkloadUse, ""),
        ("reference/campaign-file.md", Deadlines, "deadlines."),
        ("reference/workload-file.md", Workload, ""),
        ("reference/workload-file.md", Needs, "needs."),
        ("reference/workload-file.md", Metric, ""),
        ("reference/workload-file.md", Parse, ""),
        ("reference/rack-file.md", RackDescription, ""),
        ("reference/rack-file.md", HostDescription, ""),
        ("how-to/own-hosts.md", HostVariables, ""),
        ("how-to/own-hosts.md", BmcVariables, ""),
    ],
)
def test_every_key_is_explained(name, model, start):
    text = page(name)
    for key, found in model.model_fields.items():
        if not (isinstance(found.annotation, type) and issubclass(found.annotation, FileModel)):  # they have own rows
            assert re.search(rf"[`{{]{re.escape(start + (found.alias or key))}\b", text), key


def test_every_metric_of_the_exporter_is_listed():
    source = (ROOT / "harness/onhost/exporter.py").read_text(encoding="utf-8")
    listed = page("reference/metrics.md")
    for kind, name in re.findall(r'(Counter|Gauge)MetricFamily\(\s*"(nohype_\w+)"', source):
        assert f"`{name}_total`" in listed if kind == "Counter" else f"`{name}`" in listed
