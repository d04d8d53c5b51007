"""What `nohype serve` answers, by HTTP alone. How it looks in a browser: tests/integration/campaign."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import ssl
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from processes import bound_to_us
from typer.testing import CliRunner
from web_server import HOSTILE, NOHYPE, Server, serving

from harness.analysis.exit_table import exit_table
from harness.cli.app import app
from harness.errors import InputError, UnavailableError
from harness.report.words import number
from harness.results.store import Store
from harness.web.guard import host_name
from harness.web.server import Listen, check_password, parse_listen

CAMPAIGN = "/campaigns/quickstart-fixture"
PASSWORD = "correct horse battery"
pytestmark = pytest.mark.xdist_group("web")  # its servers serve the whole module


class Links(HTMLParser):
    """The addresses that a page names, and whether it is well-formed."""

    VOID = frozenset({"meta", "link", "br", "progress"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.found += [value for name, value in attrs if name in ("href", "src") and value]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_a_campaigns_page_has_its_exits_by_workload_and_stack(server: Server, state: Path) -> None:
    with Store(f"sqlite:///{state / 'results.sqlite'}") as store:
        table = exit_table(store.trials("quickstart-fixture"))
    text = server.get(CAMPAIGN).text
    assert table.rows
    assert table.stacks == ("kvm", "kvm-tuned")
    for row in table.rows:
        cells = "".join(f'<td class="n">{"–" if cell is None else number(cell)}</td>' for cell in row.cells)
        assert f'<tr><th scope="row">{row.workload}</th>{cells}</tr>' in text
    assert "VM exits per second" not in server.get("/campaigns/empty-fixture").text


def test_every_link_of_every_page_leads_to_a_page(server: Server) -> None:
    """From the first page on, as a reader would come along."""
    seen: set[str] = set()
    ahead = ["/"]
    while ahead:
        address = ahead.pop()
        if address in seen:
            continue
        seen.add(address)
        answer = server.get(address)
        if answer.status == 307:
            ahead.append(answer.headers["location"])
            continue
        assert answer.status == 200, address
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        links = Links(answer.text)
        assert links.open == [], address
        folder = address.partition("?")[0]
        folder = folder if folder.endswith("/") else folder.rpartition("/")[0] + "/"
        for link in links.found:
            path, _, rest = link.partition("?")
            if path.startswith("#"):
                continue
            query = f"?{rest}" if rest else ""
            if not path:
                ahead.append(address.partition("?")[0] + query)
            elif path == "../":
                ahead.append(folder.rstrip("/").rpartition("/")[0] + "/")
            else:
                ahead.append((path if path.startswith("/") else folder + path) + query)
    assert {f"{CAMPAIGN}", f"{CAMPAIGN}.json", f"{CAMPAIGN}/comparison", f"{CAMPAIGN}/artifacts/trials/001/"} <= seen
    assert len([address for address in seen if "/trials/quickstart-fixture-" in address]) >= 20


def test_the_first_page_lists_campaigns(server: Server) -> None:
    text = server.get("/").text
    assert "quickstart-fixture" in text
    assert "20 of 20" in text
    assert "data-live" not in text  # nothing runs
    document = json.loads(server.get("/campaigns.json").text)
    assert [one["id"] for one in document] == ["quickstart-fixture", "empty-fixture"]
    assert json.loads(server.get("/", Accept="application/json").text) == document


def test_a_campaigns_page_and_document_tell_the_same(server: Server) -> None:
    text = server.get(f"{CAMPAIGN}?all").text
    document = json.loads(server.get(f"{CAMPAIGN}.json").text)
    assert (document["trials"], document["failed"], document["status"]) == (20, 1, "done")
    for failure in document["failures"]:
        assert f'{CAMPAIGN}/trials/{failure["trial"]}"' in text
    assert text.count('<tr><th scope="row"><a') == 20 + len(document["failures"])


def test_a_trials_page_has_its_exits_by_reason(server: Server) -> None:
    trial = json.loads(server.get(f"{CAMPAIGN}/trials/quickstart-fixture-002.json").text)
    text = server.get(f"{CAMPAIGN}/trials/quickstart-fixture-002").text
    total = sum(row["count"] for row in trial["exits"])
    assert f"{total:,}" in text
    for row in trial["exits"]:
        assert re.search(rf'<th scope="row">{row["reason"]}</th><td class="n">{row["vcpu"]}</td>', text)


def test_the_comparison_is_the_report_with_the_way_back(server: Server) -> None:
    answer = server.get(f"{CAMPAIGN}/comparison")
    assert (answer.status, answer.headers["location"]) == (307, f"{CAMPAIGN}/artifacts/report.html")
    text = server.get(answer.headers["location"]).text
    assert "<b>kvm-tuned</b> over <b>kvm</b>" in text
    assert f'href="{CAMPAIGN}"' in text
    other = server.get(f"{CAMPAIGN}/artifacts/report.html?baseline=kvm-tuned").text
    assert "<b>kvm</b> over <b>kvm-tuned</b>" in other
    document = json.loads(server.get(f"{CAMPAIGN}/comparison.json?baseline=kvm-tuned").text)
    assert document["stacks"] == ["kvm-tuned", "kvm"]


@pytest.mark.parametrize(
    "address",
    [
        "/nothing",
        "/campaigns/nonsense",
        "/campaigns/quickstart",  # ids are not guessed
        "/campaigns/empty-fixture/comparison.json",
        "/campaigns/empty-fixture/artifacts/report.html",
        "/campaigns/empty-fixture/trials/quickstart-fixture-001",
        f"{CAMPAIGN}/artifacts/report.html?baseline=nonsense",
        f"{CAMPAIGN}/trials/nonsense.json",
        "/static/app.py",
        "/static/..%2fapp.py",
    ],
)
def test_what_is_not_there_is_said_to_be_so(server: Server, address: str) -> None:
    answer = server.get(address)
    assert answer.status == 404
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "../../results.sqlite",
        "../../secret.txt",
        "%2e%2e/%2e%2e/secret.txt",
        "..%2f..%2fsecret.txt",
        "trials/001/../../../../secret.txt",
        "trials/001/%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret.txt",
        "//etc/passwd",
        "%2fetc%2fpasswd",
        "link.txt",
        ".hidden",
        "trials/%00",
        "..",
        "../quickstart-fixture/page.html",
    ],
)
def test_nothing_but_the_campaigns_own_artifacts_is_served(server: Server, path: str) -> None:
    answer = server.get(f"{CAMPAIGN}/artifacts/{path}")
    assert answer.status in (400, 404)
    assert not re.search("secret$|root:|SQLite", answer.text)


def test_what_guests_left_is_never_a_page(server: Server) -> None:
    page = server.get(f"{CAMPAIGN}/artifacts/page.html")
    assert page.text == HOSTILE
    assert page.headers["content-type"] == "text/plain; charset=utf-8"
    assert "sandbox" in page.headers["content-security-policy"]
    assert server.get(f"{CAMPAIGN}/artifacts/odd%3Fname%23.log").text == "odd"
    assert "attachment" in server.get(f"{CAMPAIGN}/artifacts/disk.img").headers["content-disposition"]
    for address in ("", "/artifacts/", "/artifacts/report.html", "/trials/quickstart-fixture-001"):
        text = server.get(f"{CAMPAIGN}{address}").text
        assert HOSTILE not in text
    assert ".hidden" not in server.get(f"{CAMPAIGN}/artifacts/").text


@pytest.mark.parametrize("address", ["/", CAMPAIGN, "/nothing", f"{CAMPAIGN}/artifacts/report.html", "/campaigns.json"])
def test_every_answer_keeps_browsers_from_going_elsewhere(server: Server, address: str) -> None:
    headers = server.get(address).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(server: Server, method: str) -> None:
    answer = server.get(CAMPAIGN, method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert server.get(CAMPAIGN, "HEAD").status == 200


def test_it_answers_to_its_own_names_alone(server: Server) -> None:
    """Else a page of another site could read it, by letting its own name lead here."""
    for name in ("localhost", "127.0.0.1", "LOCALHOST:8060", "[::1]:9", "192.0.2.7:8060"):
        assert server.get("/", Host=name).status == 200, name
    for name in (
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8060",
        "",
        "localhost.",
        "[::1",
        "127.0.0.1@x",
        "2130706433",  # 127.0.0.1 to some
        "0x7f.1",
    ):
        assert server.get("/", Host=name).status in (400, 421), name


def test_names_of_hosts_are_taken_out_of_their_headers() -> None:
    assert host_name("A.example:80") == "a.example"
    assert host_name("[FE80::1]:80") == "fe80::1"
    assert host_name("::1") == ""


@pytest.fixture(scope="module")
def locked(state: Path) -> Iterator[Server]:
    with serving(state, "--name", "Lab.example", password=PASSWORD) as found:
        yield found


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_a_password_guards_every_address(locked: Server) -> None:
    for address in ("/", CAMPAIGN, "/static/web.css", "/campaigns.json", "/nothing"):
        answer = locked.get(address)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert "quickstart" not in answer.text
    wrong = (basic("x:nonsense"), basic(f"x:{PASSWORD} "), basic(PASSWORD), basic("x:"), "Basic !", "Basic", "Bearer x")
    for given in wrong:
        assert locked.get("/", Authorization=given).status == 401, given
    assert locked.get("/", Authorization=basic(f"anybody:{PASSWORD}")).status == 200
    assert locked.get("/", Authorization=basic(f"anybody:{PASSWORD}"), Host="lab.example:1").status == 200
    assert locked.get("/", Authorization=basic(f"anybody:{PASSWORD}"), Host="evil.example").status == 421


def test_without_a_password_only_this_machine_is_served() -> None:
    for address in ("0.0.0.0", "192.0.2.1", "::"):
        with pytest.raises(InputError, match="without a password"):
            check_password(Listen(address, 8060), "")
        check_password(Listen(address, 8060), PASSWORD)
    for address in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        check_password(Listen(address, 8060), "")
    with pytest.raises(InputError, match="fewer than 12"):
        check_password(Listen("127.0.0.1", 8060), "short")


@pytest.mark.parametrize(
    "text", ["", "8060", ":8060", "host.example:80", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"]
)
def test_a_wrong_place_to_listen_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not ADDRESS:PORT"):
        parse_listen(text)


def test_places_to_listen() -> None:
    assert parse_listen("[::1]:80") == Listen("::1", 80)
    assert parse_listen("localhost:0") == Listen("localhost", 0)


def test_a_port_that_is_taken_and_a_certificate_that_is_none_are_told(
    server: Server, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOHYPE_STATE", str(state))
    done = CliRunner().invoke(app, ["serve", "--listen", f"127.0.0.1:{server.port}"])
    assert isinstance(done.exception, UnavailableError)
    assert "Address already in use" in str(done.exception)
    pem = ["--tls-cert", str(state / "secret.txt"), "--tls-key", str(state / "secret.txt")]
    for words in (["--tls-cert", "x.pem"], pem, ["--tls-cert", "no.pem", "--tls-key", "no.pem"]):
        done = CliRunner().invoke(app, ["serve", "--listen", "127.0.0.1:0", *words])
        assert isinstance(done.exception, InputError), words


def test_with_a_certificate_it_speaks_tls(state: Path, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"]
    subprocess.run([*make, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    argv = [*NOHYPE, "--listen", "127.0.0.1:0", "--tls-cert", str(certificate), "--tls-key", str(key)]
    env = {**os.environ, "NOHYPE_STATE": str(state)}
    process = subprocess.Popen(bound_to_us(argv), env=env, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        found = re.search(r"https://127\.0\.0\.1:(\d+)/", process.stderr.readline())
        assert found
        context = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection("localhost", int(found[1]), timeout=30, context=context)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        process.terminate()
        process.wait(30)


def test_ctrl_c_ends_it_well(state: Path) -> None:
    with serving(state) as server:
        assert server.get("/").status == 200
    assert server.process.returncode == 0
