"""The tab "Replay" of locust's web page: its script, and what the script asks for once a second."""

import contextlib
import ipaddress
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, make_response, request, send_file
from locust.env import Environment

from replay.errors import ToolError
from replay.scenario.process import Web

_KEY = "replay"
_FILES = Path(__file__).parent
_HEAD = '<link rel="stylesheet" href="./replay/tab.css"><script src="./replay/tab.js" defer></script>'
_LOOK_EVERY_S = 1.0
_LONGEST = 5_000_000  # of what the conductor tells, in bytes
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
_ONLY_TO_WATCH = "This page is only to watch: Ctrl-C where the replay was started ends it."


class Told:
    """What the tab shows: what this process knows, and over that what the conductor tells in the file ``live``.

    Nothing is looked up while nobody asks, and once a second at most, however many do.
    """

    def __init__(self, own: Callable[[], dict[str, Any]], live: Path | None = None) -> None:
        self._own = own
        self._live = live
        self._process = f"{os.getpid()}-{time.time_ns()}"
        self._last: dict[str, Any] = {}
        self._looked: float | None = None

    def now(self) -> dict[str, Any]:
        """The page's keys. ``process`` is another one in each arm."""
        now = time.monotonic()
        if self._looked is None or now - self._looked >= _LOOK_EVERY_S:
            self._looked = now
            self._last = {**self._own(), **self._conducted(), "process": self._process}
        return self._last

    def _conducted(self) -> dict[str, Any]:
        if self._live is None:
            return {}
        try:
            if self._live.stat().st_size > _LONGEST:
                return {}
            told = json.loads(self._live.read_text(encoding="utf-8", errors="replace"))
        except (OSError, ValueError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}


def add_tab(
    environment: Environment, own: Callable[[], dict[str, Any]], *, live: Path | None = None, only_to_watch: bool
) -> None:
    """Add the tab to the web page of ``environment``, which must have one that does not serve yet.

    ``own`` gives what this process knows. ``only_to_watch`` refuses what would start, stop or change the load: a
    rehearsal is not steered from a browser, nor by pages of other sites that are open there. Then it also raises
    ToolError where nothing can be served, instead of an end that locust would not explain.
    """
    web_ui: Any = environment.web_ui
    if only_to_watch and not Web(web_ui.host, web_ui.port).is_free():
        raise ToolError(f"No web page can be served at {web_ui.host}:{web_ui.port}.", "Choose another port.")
    told = Told(own, live)
    tabs = web_ui.template_args.get("extended_tabs") or []
    web_ui.template_args["extended_tabs"] = [*tabs, {"title": "Replay", "key": _KEY}]
    options = environment.parsed_options
    prefix = (options.web_base_path if options else None) or ""
    blueprint = Blueprint("replay", __name__, url_prefix=f"{prefix}/replay")

    def live_now() -> Response:
        answer = jsonify(
            {**told.now(), "conducted": only_to_watch, "state": environment.runner.state if environment.runner else ""}
        )
        answer.headers["Cache-Control"] = "no-store"
        return answer

    for name in ("tab.js", "tab.css"):
        blueprint.add_url_rule(
            f"/{name}", name.replace(".", "_"), lambda name=name: send_file(_FILES / name, max_age=0)
        )
    blueprint.add_url_rule("/live", "live", web_ui.auth_required_if_enabled(live_now))
    blueprint.before_request(_refuse_others)
    web_ui.app.register_blueprint(blueprint)
    web_ui.app.after_request(_with_script)
    if only_to_watch:
        web_ui.app.before_request(_refuse_control)


def _refuse_others() -> Response | None:
    """Locust lets any site's pages read what it serves; statements of a migration are not theirs."""
    # Browsers say where a page is from in one header or another, and not all to every host.
    same = request.headers.get("Sec-Fetch-Site", "none") in {"none", "same-origin"}
    origin = request.headers.get("Origin")
    same = same and (origin is None or urlsplit(origin).netloc == request.host) and _is_address(request.host)
    return None if same else make_response("Only for locust's own page.", 403)


def _is_address(host: str) -> bool:
    """Whether a host is this machine or a plain address: a name that anybody may point to it is not."""
    name = urlsplit(f"//{host}").hostname or ""
    if name in {"localhost", socket.gethostname()}:
        return True
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False


def _refuse_control() -> Response | None:
    return None if request.method in _HARMLESS else make_response(_ONLY_TO_WATCH, 403)


def _with_script(response: Response) -> Response:
    if request.endpoint == "locust.index" and response.mimetype == "text/html":
        page = response.get_data(as_text=True)
        response.set_data(page.replace("</body>", f"{_HEAD}</body>", 1))
    return response
