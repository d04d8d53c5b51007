"""The engine's hosts, by the harness's other rooms: Ansible, SSH, BMC, guests, counters, Prometheus."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness import stacks
from harness.campaign.prepare import Preparation, of_campaign
from harness.campaign.protocol import Bench, HostState, Tell
from harness.errors import (
    DeadlineError,
    GuestError,
    HarnessError,
    HostUnreachableError,
    UnavailableError,
    WorkloadError,
)
from harness.exits import reader
from harness.exits.model import ExitReading
from harness.guests import inside, lifecycle
from harness.guests.image import GuestImage
from harness.guests.model import USUAL, Disengagement, Guest, GuestSpec
from harness.hosts import discover
from harness.hosts.model import Capabilities, Host
from harness.hosts.power import controller
from harness.hosts.ssh import HostSession, connect
from harness.kernel.image import KernelImage, booted
from harness.metrics.check import agrees
from harness.metrics.server import PrometheusServer
from harness.metrics.targets import exporter_targets
from harness.provision.activate import enter
from harness.provision.stacks import needs_kernel
from harness.results.artifacts import storing, write_text
from harness.results.model import Fingerprint, GuestTotals
from harness.stacks.bare import Bare
from harness.wait import until
from harness.workloads import run as workload_run
from harness.workloads.model import WorkloadResult
from harness.workloads.spec import Workload

# An exporter on an emulated host takes a good part of a second; and it must not keep the host busy.
SCRAPE_SECONDS = 5.0
_SCRAPED_SECONDS = 60.0


class HostLab:
    """See Lab.

    `kernel` may be None where no stack boots it; `cancelled` is asked while hosts are prepared and boot, and ends that.
    """

    def __init__(
        self,
        hosts: Sequence[Host],
        inventory: Path,
        image: GuestImage,
        kernel: KernelImage | None,
        prometheus: PrometheusServer,
        cancelled: Callable[[], bool],
        disengagement: Disengagement = USUAL,
    ) -> None:
        self._hosts = {host.name: host for host in hosts}
        self._image = image
        self._kernel = kernel
        self._prometheus = prometheus
        self._disengagement = disengagement
        self._preparation = of_campaign(inventory, image, kernel, cancelled)

    def open(self, host: str) -> Bench:
        """See Lab."""
        target = self._hosts[host]
        parts = (self._image, self._kernel, self._preparation, self._disengagement)
        return HostBench(target, connect(target), *parts)

    def power_cycle(self, host: str, seconds: float) -> None:
        """See Lab. Raises UnavailableError for a host without BMC."""
        target = self._hosts[host]
        controller(target).cycle()

        def answers() -> bool:
            try:
                connect(target).close()
            except HostUnreachableError:
                return False
            return True

        until(answers, seconds=seconds, what="SSH after the power cycle", where=host, interval=1)

    def disagreements(self, host: str, totals: Sequence[GuestTotals]) -> dict[str, list[str]]:
        """See Lab."""
        try:
            latest = max(each.ended_at for each in totals)
            self._prometheus.await_scrape_after(latest, _SCRAPED_SECONDS, hosts=[host])
            return {each.guest: agrees(self._prometheus, each, virtual=each.stack != Bare.name) for each in totals}
        except (DeadlineError, UnavailableError) as error:
            return {each.guest: [f"{host}: {each.guest}: could not be compared: {error.what}"] for each in totals}


class HostBench:
    """See Bench. Used by one thread."""

    def __init__(
        self,
        host: Host,
        session: HostSession,
        image: GuestImage,
        kernel: KernelImage | None,
        preparation: Preparation,
        disengagement: Disengagement = USUAL,
    ) -> None:
        self._host = host
        self._session = session
        self._image = image
        self._kernel = kernel
        self._preparation = preparation
        self._disengagement = disengagement
        self._capabilities: Capabilities | None = None
        self._inside: tuple[str, HostSession] | None = None  # name of a guest, and the session in it

    def prepare(self, stack: str, stacks: Sequence[str], folder: Path, tell: Tell) -> None:
        """See Bench. Where nothing is missing it takes one command on the host."""
        missing = self._preparation.missing(stacks, self._host, self._session)
        if stack not in missing:
            return
        self._session.close()  # it may not outlive what happens to the host's network
        self._preparation.install(stack, missing, self._host, folder, tell)
        self._session = connect(self._host)

    def boot(self, stack: str, tell: Tell, *, fresh: bool) -> float:
        """See Bench."""
        self._leave()
        self._capabilities = None
        self._session, seconds = enter(
            *(stack, self._host, self._session), tell=tell, force_reboot=fresh, cancelled=self._preparation.cancelled
        )
        return seconds

    def state(self) -> HostState:
        """See Bench."""
        self._capabilities = discover.capabilities(self._session)
        return HostState(self._capabilities.boot_id, self._capabilities.stack, self._capabilities.lost)

    def fingerprint(self, vcpus: int, memory_mib: int) -> Fingerprint:
        """See Bench. What guests consist of belongs to what a block ran on."""
        able = self._found()
        # Guests of a host with the NoHype kernel boot that very kernel, whatever their image has.
        guests_kernel = able.kernel if needs_kernel(able.stack) else self._image.kernel_release
        facts = dict(discover.fingerprint(self._session, self._host.name).facts)
        facts |= self._spec(able.stack, "fingerprint", vcpus, memory_mib).facts()
        facts |= {"guest.image": self._image.digest, "guest.kernel": guests_kernel}
        return discover.make_fingerprint(self._host.name, facts | booted(able.cmdline, self._kernel))

    def ask(self, guest: Guest) -> Mapping[str, str]:
        """See Bench."""
        try:
            return inside.facts(self._enter(guest))
        except GuestError:
            lifecycle.check_disengaged(self._session, guest)  # if it was killed, that is the reason
            raise

    def exits(self) -> ExitReading:
        """See Bench."""
        return reader.read(self._session)

    def guests(self) -> tuple[Guest, ...]:
        """See Bench."""
        return lifecycle.list_guests(self._session)

    def create(self, stack: str, name: str, vcpus: int, memory_mib: int) -> Guest:
        """See Bench."""
        lifecycle.check_cores(self._session)
        return lifecycle.create(self._session, self._spec(stack, name, vcpus, memory_mib))

    def await_guest(self, guest: Guest, seconds: float) -> float:
        """See Bench."""
        return lifecycle.await_ssh(self._session, guest, seconds)

    def destroy(self, guest: Guest) -> None:
        """See Bench."""
        self._leave()
        lifecycle.destroy(self._session, guest.name)

    def run(
        self, workload: Workload, guest: Guest, seconds: int, folder: Path, at_border: Callable[[], None]
    ) -> WorkloadResult:
        """See Bench. During a workload of the host the guest has no visitor: a session has its keepalives."""
        try:
            result = self._run(workload, guest, seconds, folder, at_border)
        except (GuestError, WorkloadError):
            lifecycle.check_disengaged(self._session, guest)  # if it was killed, that is the reason
            raise
        lifecycle.check_disengaged(self._session, guest)  # a workload of the host does not notice
        return result

    def keep_console(self, guest: Guest, folder: Path) -> None:
        """See Bench."""
        path = folder / f"console-{guest.name}.log"
        with storing(path):
            if not path.exists():
                self._session.download(guest.console, path, sudo=True)

    def keep_log(self, folder: Path) -> None:
        """See Bench."""
        write_text(folder / "dmesg.txt", self._session.run(["dmesg"], sudo=True).stdout)

    def close(self) -> None:
        """See Bench."""
        self._leave()
        self._session.close()

    def _spec(self, stack: str, name: str, vcpus: int, memory_mib: int) -> GuestSpec:
        """The host has no other guest: what it was found to have is all free."""
        free = _without_guests(self._found())
        return stacks.get(stack).guest_spec(
            name, vcpus, memory_mib, self._image.digest, free, frozenset(), self._disengagement
        )

    def _found(self) -> Capabilities:
        if self._capabilities is None:
            self._capabilities = discover.capabilities(self._session)
        return self._capabilities

    def _run(
        self, workload: Workload, guest: Guest, seconds: int, folder: Path, at_border: Callable[[], None]
    ) -> WorkloadResult:
        session = None
        if workload.runs == "guest":
            session = self._enter(guest)
        else:
            self._leave()
        key = "nohype_data_address" if guest.vf else "nohype_bridge_address"
        return workload_run.run(
            workload,
            guest=session,
            host=self._session,
            gateway=str(self._host.variables.get(key, "")).partition("/")[0],
            vcpus=guest.vcpus,
            seconds=seconds,
            artifacts=folder,
            at_border=at_border,
        )

    def _enter(self, guest: Guest) -> HostSession:
        if self._inside and self._inside[0] == guest.name:
            return self._inside[1]
        self._leave()
        session = lifecycle.connect(self._session, guest, self._image)
        self._inside = (guest.name, session)
        return session

    def _leave(self) -> None:
        inside, self._inside = self._inside, None
        if inside:
            inside[1].close()


@contextlib.contextmanager
def open_lab(
    hosts: Sequence[Host],
    inventory: Path,
    image: GuestImage,
    kernel: KernelImage | None,
    folder: Path,
    cancelled: Callable[[], bool],
    disengagement: Disengagement,
) -> Iterator[HostLab]:
    """The hosts, with a Prometheus that scrapes them meanwhile; its data are kept in `folder`.

    Raises UnavailableError where Prometheus does not start.
    """
    data = folder / "prometheus"
    with storing(data):
        data.mkdir(parents=True, exist_ok=True)
    with PrometheusServer(prometheus_binary(data), data, exporter_targets(hosts), SCRAPE_SECONDS) as server:
        yield HostLab(hosts, inventory, image, kernel, server, cancelled, disengagement)


def prometheus_binary(data: Path) -> list[str]:
    """The argument list that runs Prometheus on that folder."""
    from harness.toolbox.root import prometheus_program

    return prometheus_program("prometheus", "Prometheus", [data])


def _without_guests(found: Capabilities) -> Capabilities:
    functions = tuple(
        replace(function, vfs=tuple(replace(vf, guest="") for vf in function.vfs))
        for function in found.physical_functions
    )
    return replace(found, hugepages_free=found.hugepages_total, physical_functions=functions)


def discovered(hosts: Sequence[Host]) -> tuple[dict[str, Capabilities], dict[str, HarnessError]]:
    """What the hosts can do, and why those that cannot tell cannot: never provisioned, out of reach and the like.

    The latter are no reason to refuse a campaign: it provisions, power-cycles, and records what stays impossible.
    """
    found: dict[str, Capabilities] = {}
    silent: dict[str, HarnessError] = {}
    for host in hosts:
        try:
            with connect(host) as session:
                found[host.name] = discover.capabilities(session)
        except HarnessError as error:
            silent[host.name] = error
    return found, silent
