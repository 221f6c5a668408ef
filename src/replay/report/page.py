"""What every page of ours is made with: a template with escaping, and one charting library inlined.

Everything from outside is escaped by Jinja, in text as in the JSON of the charts. Only the two scripts whose digests
stand in the page's content security policy may run, and nothing may be fetched.
"""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from replay.report import formats

_TEMPLATES = Path(__file__).parent / "templates"
# What the library shows of itself to the script that follows.
_SNIPPET = "window.vegaEmbed = vegaEmbed;"
# Draws every chart whose specification stands in the page. `ast` lets Vega do without eval, which the policy forbids.
_DRAW = """
for (const spec of document.querySelectorAll('script[type="application/json"][data-chart]')) {
  const place = document.getElementById(spec.dataset.chart);
  const options = {renderer: "svg", actions: false, ast: true, tooltip: {theme: "custom"}};
  vegaEmbed(place, JSON.parse(spec.textContent), options)
    .then(() => place.classList.add("drawn"));
}
"""


def render_page(template: str, styles: tuple[str, ...] = ("style.css",), **values: Any) -> str:
    """The page that ``template`` makes of ``values``: the same to the byte for the same values."""
    library = _library()
    page: str = (
        _environment()
        .get_template(template)
        .render(
            **values,
            style=Markup("\n".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in styles)),  # noqa: S704 - ours
            library=Markup(library),  # noqa: S704 - the charting library's own text
            draw=Markup(_DRAW),  # noqa: S704 - ours
            script_digests=[_digest(library), _digest(_DRAW)],
        )
    )
    return page


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script. No text of it may end the script element early."""
    return vl_convert.javascript_bundle(_SNIPPET).replace("</script", "<\\/script")


def _digest(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "seconds": formats.seconds,
        "milliseconds": formats.milliseconds,
        "moment": formats.moment,
        "share": formats.share,
        "number": formats.number,
        "size": formats.size,
        "plain": formats.plain,
        "amount": formats.amount,
        "words": formats.words,
        "times": formats.times,
        "day": formats.day,
        "json_script": _json_script,
    }
    return environment


def _finalize(value: Any) -> Any:
    """What a template shows: text of others with nothing hidden in it."""
    ours = not isinstance(value, str) or isinstance(value, Markup)
    return value if ours else formats.visible(value.replace("\r\n", "\n"))


def _json_script(value: Any) -> Markup:
    """``value`` as JSON that no text within can break out of a script element with."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704 - escaped
