"""The addresses and their pages.

Each page is served as JSON as well: at its address with `.json`, or to those that accept `application/json` alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

import harness
from harness.analysis.exit_table import exit_table
from harness.analysis.exits import exits_total
from harness.campaign.register import RUNNING
from harness.errors import HarnessError, InputError
from harness.report import html as report
from harness.report import words
from harness.results.artifacts import campaign_folder
from harness.web import files
from harness.web.guard import Guard
from harness.web.pages import Pages

_HERE = Path(__file__).parent
# The only files served besides artifacts.
_STATIC = {
    "report.css": Path(report.__file__).parent / "report.css",
    "web.css": _HERE / "web.css",
    "live.js": _HERE / "live.js",
}
_TRIALS_SHOWN = 100  # of the latest; the page has a link to all
# The report's figures carry their colours with them.
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


def application(pages: Pages, hosts: frozenset[str], password: str) -> Starlette:
    """The web application; `hosts` and `password` as Guard has them."""
    site = _Site(pages)
    routes = [
        Route("/", site.campaigns),
        Route("/campaigns.json", site.campaigns),
        Route("/campaigns/{campaign}/trials/{trial}", site.trial),
        Route("/campaigns/{campaign}/comparison", site.comparison),
        Route("/campaigns/{campaign}/comparison.json", site.comparison),
        Route("/campaigns/{campaign}/artifacts/report.html", site.report),
        Route("/campaigns/{campaign}/artifacts/{path:path}", site.artifacts),
        Route("/campaigns/{campaign}", site.campaign),
        Route("/static/{name}", _static),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=hosts, password=password)],
        exception_handlers={HTTPException: site.refused, HarnessError: site.failed},
    )


class _Site:
    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("harness.web", "."),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )

    def campaigns(self, request: Request) -> Response:
        found = self._pages.campaigns()
        if _asks_json(request):
            return _json(found)
        running = [self._pages.record(str(one["id"])) for one in found if one["status"] == RUNNING]
        standings = {record.id: self._pages.standing(record) for record in running}
        return self._page("campaigns", campaigns=found, standings=standings, live=bool(running))

    def campaign(self, request: Request) -> Response:
        name, as_json = _name(request, "campaign")
        record = self._pages.record(name)
        standing = self._pages.standing(record)
        document = self._pages.document(record, standing)
        if as_json:
            return _json(document)
        trials = self._pages.trials(record)
        everything = "all" in request.query_params
        return self._page(
            "campaign",
            campaign=record,
            found=document,
            standing=standing,
            last=self._pages.last_trials(record),
            trials=trials[::-1] if everything else trials[: -_TRIALS_SHOWN - 1 : -1],
            total=len(trials),
            exits=exit_table(trials),
            here=campaign_folder(record.id).is_dir(),
            live=document["status"] == RUNNING,
        )

    def trial(self, request: Request) -> Response:
        record = self._pages.record(request.path_params["campaign"])
        name, as_json = _name(request, "trial")
        trial = self._pages.trial(record, name)
        if as_json:
            return _json(trial)
        root = campaign_folder(record.id)
        folder = files.inside(root, trial.artifacts) if trial.artifacts else None
        kept = files.entries(root, root / trial.artifacts) if folder and folder.is_dir() else []
        rows = sorted(trial.exits, key=lambda row: -row.count)
        return self._page("trial", campaign=record, trial=trial, rows=rows, files=kept, live=False)

    def comparison(self, request: Request) -> Response:
        record = self._pages.record(request.path_params["campaign"])
        if _asks_json(request):
            return _json(self._pages.comparison(record, request.query_params.get("baseline")))
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/campaigns/{record.id}/artifacts/report.html{query}", 307)

    def report(self, request: Request) -> Response:
        """Among the artifacts, as `nohype report` puts it there: its links lead to its neighbours."""
        record = self._pages.record(request.path_params["campaign"])
        text = self._pages.report(record, request.query_params.get("baseline"))
        return HTMLResponse(text, headers={"Content-Security-Policy": _REPORT_POLICY})

    def artifacts(self, request: Request) -> Response:
        record = self._pages.record(request.path_params["campaign"])
        path = request.path_params["path"].removesuffix("/")
        root = campaign_folder(record.id)
        found = files.inside(root, path)
        if found is None:
            raise HTTPException(404, "There is no such artifact on this machine.")
        if found.is_file():
            return files.file_response(found)
        if not found.is_dir():
            raise HTTPException(404, "This is neither a file nor a folder.")
        if not request.url.path.endswith("/"):  # links of the list are relative
            return RedirectResponse(f"{request.url.path}/", 307)
        return self._page("artifacts", campaign=record, path=path, entries=files.entries(root, root / path), live=False)

    def refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self._error(request, error.status_code, error.detail)

    def failed(self, request: Request, error: Exception) -> Response:
        """A campaign without trials has no comparison yet; a store may be gone for a while."""
        assert isinstance(error, HarnessError)
        return self._error(request, 404 if isinstance(error, InputError) else 503, str(error))

    def _error(self, request: Request, status: int, text: str) -> Response:
        if _asks_json(request):
            return _json({"error": text}, status)
        return self._page("error", status=status, text=text, live=False)

    def _page(self, name: str, status: int = 200, **values: object) -> HTMLResponse:
        template = self._templates.get_template(f"{name}.html.j2")
        now = datetime.now(UTC)
        common = {"words": words, "now": now, "version": harness.__version__, "exits_total": exits_total}
        return HTMLResponse(template.render(**common, status=status, **values), status_code=status)


def _static(request: Request) -> Response:
    path = _STATIC.get(request.path_params["name"])
    if path is None:
        raise HTTPException(404, "There is no such file.")
    kinds = {".css": "text/css", ".js": "text/javascript"}
    return FileResponse(path, media_type=kinds[path.suffix], headers={"Cache-Control": "no-cache"})


def _name(request: Request, key: str) -> tuple[str, bool]:
    """The name at the end of an address, and whether JSON is asked for."""
    name = str(request.path_params[key])
    return name.removesuffix(".json"), _asks_json(request)


def _asks_json(request: Request) -> bool:
    return request.url.path.endswith(".json") or request.headers.get("accept") == "application/json"


def _json(value: object, status: int = 200) -> Response:
    def convert(item: object) -> object:
        if is_dataclass(item) and not isinstance(item, type):
            return asdict(item)
        return item.isoformat() if isinstance(item, datetime) else str(item)

    return Response(json.dumps(value, default=convert), status, media_type="application/json")
