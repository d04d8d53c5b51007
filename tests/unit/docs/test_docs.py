"""The documentation's examples are valid, its links lead somewhere, and its tables name every command and key."""

import re
import subprocess

import pytest
import yaml

from harness.campaign.spec import CampaignSpec, Deadlines, GuestSize, WorkloadUse
from harness.cli import campaign, exits, guest, hosts, image, kernel, metrics, nightly, rack, results
from harness.config import FileModel, validate
from harness.hosts.variables import BmcVariables, ExporterWeb, HostVariables
from harness.nightly.spec import Mail, NightlySpec, Notify, Webhook
from harness.paths import repo_root
from harness.rack.description import HostDescription, RackDescription
from harness.workloads.spec import Metric, Needs, Parse, Workload

ROOT = repo_root()
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "kernel").glob("*.md")]
KINDS = (
    (("boots", "stacks"), CampaignSpec),
    (("command", "metrics"), Workload),
    (("deterministic",), RackDescription),
    (("at",), NightlySpec),
)


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
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.M)
            assert anchor[1:] in [re.sub(r"[^a-z0-9 -]", "", text.lower()).replace(" ", "-") for text in headings]


GROUPS = {
    "campaign": campaign,
    "exits": exits,
    "guest": guest,
    "hosts": hosts,
    "image": image,
    "kernel": kernel,
    "metrics": metrics,
    "nightly": nightly,
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


@pytest.mark.parametrize("single", ["compare", "report", "serve", "doctor", "hosts", "provision", "quickstart"])
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
        ("how-to/nightlies.md", NightlySpec, ""),
        ("how-to/nightlies.md", Notify, "notify."),
        ("how-to/nightlies.md", Mail, ""),
        ("how-to/nightlies.md", Webhook, ""),
        ("how-to/own-hosts.md", HostVariables, ""),
        ("how-to/own-hosts.md", BmcVariables, ""),
        ("how-to/own-hosts.md", ExporterWeb, ""),
    ],
)
def test_every_key_is_explained(name, model, start):
    text = page(name)
    for key, found in model.model_fields.items():
        if not (isinstance(found.annotation, type) and issubclass(found.annotation, FileModel)):  # they have own rows
            assert re.search(rf"[`{{]{re.escape(start + (found.alias or key))}\b", text), key


def test_the_lines_a_disengaged_guest_can_reach_are_those_of_the_patch():
    text = page("explanation/nohype.md")
    (command,) = re.findall(r"^```sh\n(sed .*)\n```$", text, re.M)
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"is {done.stdout.strip()} statements" in text


@pytest.mark.parametrize("patch", sorted((ROOT / "kernel/patches").glob("*/*.patch")), ids=lambda path: path.name[:4])
def test_the_kernels_page_has_each_patchs_size(patch):
    text = patch.read_text(encoding="utf-8", errors="replace")
    (found,) = re.findall(r"^ (\d+) files? changed(.*)$", text, re.M)
    lines = [f"{sign}{n}" for n, sign in re.findall(r"(\d+) \w+\(([+-])\)", found[1])]
    (row,) = re.findall(
        rf"^\| {patch.name[:4]} .*\| (.*) \| (.*) \|$", (ROOT / "kernel/README.md").read_text("utf-8"), re.M
    )
    assert row == (found[0], " ".join(lines))
