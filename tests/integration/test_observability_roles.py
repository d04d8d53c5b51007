"""Roles prometheus and grafana on a host, with the toolbox's promtool and what Debian's packages bring."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from netns_hosts import Machine
from provisioning import play, write_playbook

from harness.errors import ProvisionError
from harness.hosts.inventory import load_inventory
from harness.hosts.model import Host
from harness.metrics.targets import exporter_targets, file_sd
from harness.paths import repo_root
from harness.toolbox.root import toolbox

ROLES = repo_root() / "playbooks" / "roles"
PACKAGED = ("usr/bin/promtool", "usr/lib/systemd/system/prometheus.service")  # of package prometheus
NODE_UNIT = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
OFFLINE = {"SYSTEMD_OFFLINE": "1"}


def by_target(group: dict[str, list[str]]) -> list[str]:
    return group["targets"]


def lab(folder: Path, host: Host) -> Path:
    """An inventory: `host` is the monitoring host; two of four others have TLS, one of these a password."""
    for name in ("ca.pem", "key", "password"):
        (folder / name).write_text(f"{name}\n", encoding="utf-8")
    access = {
        "ansible_user": host.user,
        "ansible_ssh_private_key_file": str(host.private_key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={host.known_hosts} -o StrictHostKeyChecking=yes",
        "nohype_known_hosts": str(host.known_hosts),
        "nohype_fidelity": "emulated",
    }
    web = {name: str(folder / "ca.pem") for name in ("cert", "key", "ca")}
    guarded = {
        **web,
        "user": "prometheus",
        "password_hash": "$2b$05$abcdefghijklmnopqrstuv",
        "password_file": str(folder / "password"),
    }
    hosts = {
        "b": {"ansible_host": "192.0.2.2", "nohype_exporter_port": 9200},
        "a": {"ansible_host": "2001:db8::1"},
        "tls": {"ansible_host": "192.0.2.3", "nohype_exporter_listen": "192.0.2.33", "nohype_exporter_web": web},
        "guarded": {"ansible_host": "192.0.2.4", "nohype_exporter_web": guarded},
    }
    groups = {
        "nohype_monitoring": {"hosts": {host.name: {"ansible_host": host.address}}},
        "nohype_hosts": {"hosts": hosts},
    }
    path = folder / "lab.yml"
    path.write_text(yaml.safe_dump({"all": {"children": groups, "vars": access}}), encoding="utf-8")
    return path


def test_prometheus_is_configured_by_the_inventory(
    netns_host: Host, machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    root = machine_of(netns_host).root
    for path in PACKAGED:
        shutil.copy(toolbox().root / path, root / path)
    (root / "usr/lib/systemd/system/prometheus-node-exporter.service").write_text(NODE_UNIT)
    inventory = lab(tmp_path, netns_host)
    account = {"name": "Make the account", "ansible.builtin.user": {"name": "prometheus", "system": True}}
    role = {"role": str(ROLES / "prometheus"), "vars": {"prometheus_packages": []}}
    words = {"hosts": "nohype_monitoring", "environment": OFFLINE, "pre_tasks": [account]}
    playbook = write_playbook(tmp_path, roles=(role,), **words)
    result, _ = play(tmp_path, playbook, inventory, limit=netns_host.name)
    assert result.hosts[0].changed > 0

    etc = root / "etc/prometheus"
    written = [group for path in sorted(etc.glob("nohype/hosts-*.json")) for group in json.loads(path.read_text())]
    ours = json.loads(file_sd(exporter_targets(load_inventory(inventory).hosts)))
    assert sorted(written, key=by_target) == sorted(ours, key=by_target)
    jobs = {job["job_name"]: job for job in yaml.safe_load((etc / "prometheus.yml").read_text())["scrape_configs"]}
    of_hosts = [job for name, job in jobs.items() if name.startswith("nohype-") and name != "nohype-controller"]
    assert len(of_hosts) == 3
    assert sum("tls_config" in job for job in of_hosts) == 2
    (secret,) = [job["basic_auth"]["password_file"] for job in of_hosts if "basic_auth" in job]
    assert (root / secret.lstrip("/")).read_text() == "password\n"
    assert (root / secret.lstrip("/")).stat().st_mode & 0o777 == 0o640
    assert "--storage.tsdb.retention.time=10y" in (root / "etc/default/prometheus").read_text()
    wanted = {path.name for path in (root / "etc/systemd/system/multi-user.target.wants").iterdir()}
    assert {"prometheus.service", "prometheus-node-exporter.service"} <= wanted

    again, _ = play(tmp_path, playbook, inventory, limit=netns_host.name)
    assert again.hosts[0].changed == 0


def test_a_configuration_that_is_wrong_is_not_put_in_place(
    netns_host: Host, machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    root = machine_of(netns_host).root
    for path in PACKAGED:
        shutil.copy(toolbox().root / path, root / path)
    account = {"name": "Make the account", "ansible.builtin.user": {"name": "prometheus", "system": True}}
    variables = {"prometheus_packages": [], "prometheus_hosts_scrape_interval": "often"}
    role = {"role": str(ROLES / "prometheus"), "vars": variables}
    words = {"hosts": "nohype_monitoring", "environment": OFFLINE, "pre_tasks": [account]}
    with pytest.raises(ProvisionError, match="often"):
        play(tmp_path, write_playbook(tmp_path, roles=(role,), **words), lab(tmp_path, netns_host), limit="neta")
    assert not (root / "etc/prometheus/prometheus.yml").exists()


def test_grafana_gets_data_source_and_dashboards(
    netns_host: Host, machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    root = machine_of(netns_host).root
    inventory = lab(tmp_path, netns_host)
    role = {"role": str(ROLES / "grafana"), "vars": {"grafana_prometheus_url": "http://192.0.2.9:9090"}}
    playbook = write_playbook(tmp_path, roles=(role,), hosts="nohype_monitoring", environment=OFFLINE)
    play(tmp_path, playbook, inventory, limit=netns_host.name)
    provisioning = root / "etc/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/nohype.yml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://192.0.2.9:9090")
    (provider,) = yaml.safe_load((provisioning / "dashboards/nohype.yml").read_text())["providers"]
    brought = {path.name for path in (root / provider["options"]["path"].lstrip("/")).iterdir()}
    assert brought == {path.name for path in (repo_root() / "dashboards/json").iterdir()}
    again, _ = play(tmp_path, playbook, inventory, limit=netns_host.name)
    assert again.hosts[0].changed == 0


def test_grafanas_server_is_refused_without_key_and_password(netns_host: Host, tmp_path: Path) -> None:
    for source, message in (
        ({"suite": "stable"}, "has no uri"),
        ({"uri": "https://apt.grafana.com"}, "has no key"),
        ({"uri": "https://apt.grafana.com", "key": "/k"}, "grafana_admin_password_file is not set"),
    ):
        role = {"role": str(ROLES / "grafana"), "vars": {"grafana_package_source": source}}
        playbook = write_playbook(tmp_path, roles=(role,), hosts="nohype_monitoring", environment=OFFLINE)
        with pytest.raises(ProvisionError, match=message):
            play(tmp_path, playbook, lab(tmp_path, netns_host), limit=netns_host.name)
