"""`nohype metrics`: what Prometheus gets from this control node, and where it finds hosts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.common import InventoryOption, default_inventory, err, out
from harness.errors import InputError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from harness.onhost.web import WebConfig
    from harness.results.store import Store

app = typer.Typer(
    no_args_is_help=True,
    help="Metrics of campaigns for a Prometheus server of yours. Hosts have an exporter of their own. "
    "All metrics: docs/reference/metrics.md.",
)

CampaignsOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="Serve at most N campaigns, the latest; bounds the number of series.")
]


@app.command()
def serve(
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Where to listen; by default for this machine alone.")
    ] = "127.0.0.1:9178",
    web_config: Annotated[
        Path | None,
        typer.Option(
            "--web-config",
            metavar="FILE",
            help="TLS and passwords, as Prometheus' own exporters have them (their --web.config.file).",
        ),
    ] = None,
    campaigns: CampaignsOption = 10,
) -> None:
    """Serve progress and results of campaigns to Prometheus, from the results store. Ctrl-C ends.

    Example: nohype metrics serve --listen 192.0.2.10:9178 --web-config web.yml
    """
    from harness.onhost import web
    from harness.onhost.errors import AgentError
    from harness.results.store import Store

    with Store() as store:
        try:
            server = web.server(listen, _registry(store, campaigns), _web_config(web_config))
        except AgentError as error:
            raise InputError(error.what, where=error.where, fix=error.fix) from None
        with server:
            err.print(f"metrics of {store.name} on {listen}; Ctrl-C ends", markup=False, soft_wrap=True)
            server.serve_forever()


@app.command()
def textfile(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="It ends in .prom and is replaced as a whole.")
    ],
    campaigns: CampaignsOption = 10,
) -> None:
    """Write the same metrics once, for node_exporter's textfile collector. For a timer instead of a service.

    Example: nohype metrics textfile -o /var/lib/prometheus/node-exporter/nohype.prom
    """
    from prometheus_client import write_to_textfile

    from harness.results.artifacts import storing
    from harness.results.store import Store

    if output.suffix != ".prom":
        raise InputError("node_exporter reads files that end in .prom", where=str(output))
    with Store() as store, storing(output):
        write_to_textfile(str(output), _registry(store, campaigns))


@app.command()
def targets(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: stdout. Replaced as a whole.")
    ] = None,
    limit: Annotated[str, typer.Option(metavar="PATTERN", help="Hosts: names, groups, globs.")] = "all",
    inventory: InventoryOption = None,
) -> None:
    """Write where the hosts' exporters answer, as Prometheus reads it (file_sd_configs).

    Each target has the label host, the name in the inventory; dashboards and rules ask for it.

    Example: nohype metrics targets --inventory my-lab.yml -o /etc/prometheus/nohype/hosts.json
    """
    from harness.hosts.inventory import load_inventory
    from harness.metrics.targets import exporter_targets, file_sd, write_targets
    from harness.results.artifacts import storing

    found = exporter_targets(load_inventory(default_inventory(inventory)).select(limit))
    if output is None:
        out.out(file_sd(found), end="", highlight=False)
        return
    with storing(output):
        write_targets(output, found)


def _registry(store: Store, campaigns: int) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry

    from harness.telemetry.exporter import StoreCollector
    from harness.telemetry.nightlies import Nightlies

    registry = CollectorRegistry(auto_describe=False)
    registry.register(StoreCollector(store, campaigns, (Nightlies(),)))
    return registry


def _web_config(path: Path | None) -> WebConfig:
    import yaml

    from harness.onhost.web import WebConfig, web_config

    if path is None:
        return WebConfig()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except yaml.YAMLError as error:
        raise InputError(f"is not YAML: {error}", where=str(path)) from None
    return web_config(document, str(path))
