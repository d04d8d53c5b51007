"""A Prometheus server of our own for the length of a campaign."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, urlencode

from harness.errors import DeadlineError, HarnessError, InputError, UnavailableError
from harness.metrics.model import Sample
from harness.metrics.targets import Target, write_targets
from harness.wait import until

_START_SECONDS = 60.0  # includes waiting for the server of a killed controller to end on the same data
_STOP_SECONDS = 30.0
_REPLY_SECONDS = 30.0
_RETENTION = "10y"  # a campaign's data is kept as long as its folder


class PrometheusServer:
    """Scrapes the hosts' exporters while it is entered. Listens on 127.0.0.1 alone.

    It ends with the with-block, and with this process if that is killed. Its data stay in `data` and are found again
    by the next server there.
    """

    def __init__(
        self, binary: Sequence[str], data: Path, targets: Mapping[str, Target], scrape_seconds: float = 1.0
    ) -> None:
        """`binary` is the argument list that runs Prometheus, with `data` visible to it at the same path;
        `targets` are by host name."""
        self._binary = tuple(binary)
        self._data = data.absolute()
        self._targets = dict(targets)
        self._scrape = scrape_seconds
        self._port = 0
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> Path:
        return self._data / "prometheus.log"

    def __enter__(self) -> PrometheusServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until it answers. Raises UnavailableError with the end of its log where it does not."""
        (self._data / "tsdb").mkdir(parents=True, exist_ok=True)
        configuration = self._data / "prometheus.yml"
        configuration.unlink(missing_ok=True)
        configuration.touch(mode=0o600)  # it may hold passwords
        configuration.write_text(self._configuration(), encoding="utf-8")
        deadline = time.monotonic() + _START_SECONDS
        try:
            while not self._launch(deadline):
                # The port that was free may have been taken in between.
                if time.monotonic() > deadline or "address already in use" not in self._log_text():
                    raise self._would_not("start")
        except DeadlineError:
            error = self._would_not("answer")
            self.stop()
            raise error from None
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it; what it scraped is on disk then. Does nothing when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def query(self, promql: str, *, at: float | datetime | None = None) -> list[Sample]:
        """An instant query, at a time (Unix seconds) or now.

        Raises HarnessError where Prometheus refuses it, UnavailableError where it has gone.
        """
        parameters = {"query": promql}
        if at is not None:
            parameters["time"] = f"{at.timestamp() if isinstance(at, datetime) else at:.3f}"
        return parse_vector(self._get(f"/api/v1/query?{urlencode(parameters, quote_via=quote)}"), promql)

    def await_scrape_after(self, moment: float | datetime, seconds: float, *, hosts: Sequence[str] = ()) -> None:
        """Wait until every target (or those of `hosts`) has been scraped by a scrape that began after `moment`.

        Raises DeadlineError naming the hosts that were not, with what Prometheus says about them.
        """
        after = moment.timestamp() if isinstance(moment, datetime) else moment
        wanted = set(hosts) or set(self._targets)

        def late() -> set[str]:
            # The timestamp of `up` is when the scrape began; that of `up == 1` would be now.
            fresh = {each.labels["host"] for each in self.query("timestamp(up) * (up == 1)") if each.value > after}
            return wanted - fresh

        try:
            until(lambda: not late(), seconds=seconds, what="scrape", interval=min(self._scrape / 2, 0.5))
        except DeadlineError:
            missing = sorted(late())
            errors = self._scrape_errors()
            told = ", ".join(f"{name} ({errors.get(name) or 'no error'})" for name in missing)
            raise DeadlineError(
                f"Prometheus did not scrape within {seconds:g} s: {told}",
                where=self.url,
                fix="on those hosts: sudo systemctl status nohype-exporter",
            ) from None

    def _configuration(self) -> str:
        # JSON is YAML.
        interval = f"{round(self._scrape * 1000)}ms"
        ways: dict[Target, dict[str, Target]] = {}  # hosts that are asked in the same way, whatever their addresses
        for name, target in self._targets.items():
            ways.setdefault(replace(target, address=""), {})[name] = target
        jobs = []
        for number, (way, targets) in enumerate(ways.items() or [(Target(""), {})]):
            path = self._data / f"targets-{number}.json"
            write_targets(path, targets)
            jobs.append(
                {
                    "job_name": f"nohype-{number}",
                    "file_sd_configs": [{"files": [str(path)], "refresh_interval": "5s"}],
                    "relabel_configs": [{"target_label": "job", "replacement": "nohype"}],
                    **_access(way),
                }
            )
        limits = {"scrape_interval": interval, "scrape_timeout": interval}
        return json.dumps({"global": limits, "scrape_configs": jobs}, indent=1)

    def _launch(self, deadline: float) -> bool:
        """Start once; False where it ended before it was ready."""
        self.stop()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        argv = [
            *(sys.executable, "-m", "harness.metrics.leash", str(self._data / "lock"), *self._binary),
            f"--config.file={self._data / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._data / 'tsdb'}",
            f"--storage.tsdb.retention.time={_RETENTION}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            try:
                # A session of its own: what is sent to our process group (Ctrl-C, kill) is for us alone.
                self._process = subprocess.Popen(
                    argv, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
                )
            except OSError as error:
                raise UnavailableError(f"cannot be started: {error}", where=argv[0]) from None
        process = self._process

        def settled() -> bool:
            return process.poll() is not None or self._ready()

        until(settled, seconds=max(deadline - time.monotonic(), 0), what="answer", interval=0.05)
        return process.poll() is None

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self._request("/-/ready")[0] == 200
        return False

    def _would_not(self, verb: str) -> UnavailableError:
        last = " | ".join(self._log_text().splitlines()[-3:])
        return UnavailableError(
            f"Prometheus did not {verb}: {last or '(it said nothing)'}", where=str(self.log), fix="nohype doctor"
        )

    def _log_text(self) -> str:
        """What the log got since the last launch."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _scrape_errors(self) -> dict[str, str]:
        answer = json.loads(self._get("/api/v1/targets?state=active"))
        return {found["labels"]["host"]: found["lastError"] for found in answer["data"]["activeTargets"]}

    def _get(self, path: str) -> str:
        try:
            return self._request(path)[1]
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(
                f"Prometheus does not answer: {error}", where=self.url, fix=f"see {self.log}"
            ) from None

    def _request(self, path: str) -> tuple[int, str]:
        # http.client and not urllib: no proxy setting may come between us and our own loopback.
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_REPLY_SECONDS)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()


def _access(way: Target) -> dict[str, object]:
    """Certificate and password themselves, not their files: Prometheus may run in a root of its own.

    Raises InputError where one cannot be read.
    """
    found: dict[str, object] = {}
    if way.ca is not None:
        found["tls_config"] = {"ca": _content(way.ca)}
    if way.password_file is not None:
        found["basic_auth"] = {"username": way.user, "password": _content(way.password_file).strip()}
    return found


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"nohype_exporter_web: cannot be read: {error}", where=str(path)) from None


def parse_vector(text: str, promql: str) -> list[Sample]:
    """The samples in Prometheus' answer to an instant query. Raises HarnessError where it holds an error."""
    try:
        answer = json.loads(text)
    except ValueError:
        raise HarnessError(f"Prometheus' answer is not JSON: {text[:200]!r}", where=promql) from None
    if answer.get("status") != "success":
        raise HarnessError(f"Prometheus refuses the query: {answer.get('error', text[:200])}", where=promql)
    kind, result = answer["data"]["resultType"], answer["data"]["result"]
    if kind == "scalar":
        return [Sample({}, float(result[1]), float(result[0]))]
    if kind != "vector":
        raise HarnessError(f"the query gives a {kind}, not one value for each series", where=promql)
    return [Sample(row["metric"], float(row["value"][1]), float(row["value"][0])) for row in result]
