"""What is read off each exchange of a capture before anything is known of the others, as expressions for an engine.

Texts that differ in almost every exchange (ids in a path, values in a body) are made alike here, so that only what
really differs comes to Python: there its meaning is found once for each distinct text.
"""

import ibis

from replay.workload.endpoints.operations import EXTRACTS, LONGEST_BODY
from replay.workload.engine import Engine

SEPARATOR = "\x1f"
_BLANK = r"[ \t\r\n]*"
_STRING = r'[^"\\]*(?:\\.[^"\\]*)*'  # a text in JSON; Java would take a level of its stack for each character of (a|b)*
_HEADER_VALUE = rf'({_STRING})"\]'
_AUTHORIZATION = r'(?i)\["authorization", "' + _HEADER_VALUE
_AGENT = r'(?i)\["user-agent", "' + _HEADER_VALUE
# Cookies and headers that say nothing of who sent them are left out, as are the keys of a request (idempotency, CSRF).
_SESSION = "(?:sess|sid|auth|token|jwt|login|remember|[cx]srf)"
_COOKIE = rf'(?i)\["cookie", "({_STRING}{_SESSION}{_STRING})"\]'
_KEY = "(?:api|access|secret|subscription|auth|service|licen[sc]e|client|account|private|session)[-_]?key"
_KEY_HEADER = rf'(?i)(\["(?:[^"]*{_KEY}|(?:[^"]*[^"f_-][-_]?)?token|[^"]*secret|[^"]*passw(?:or)?d)", "{_STRING}"\])'
_KEY_IN_QUERY = (
    rf"(?i)(?:^|&)((?:[^&=]*{_KEY}|(?:(?:access|auth|api|id|session|private|user|client)[-_]?)?token|jwt|[^&=]*secret)"
    rf"=[^&{SEPARATOR}]*)"
)
_LOGS_IN = r"(?i)passw|passwd|pwd|secret|refresh_token|grant_type|credential|login"
_SESSION_COOKIE = rf'(?i)\["set-cookie", "([^"\\=;]*{_SESSION}[^"\\=;]*=[^"\\;]*(?:\\.[^"\\;]*)*)'
_TEXT = rf'{_BLANK}:{_BLANK}"({_STRING})"'
_ACCESS = r'"access_token"' + _TEXT
_IDENTITY = r'"(?:id_token|token|auth_token|session_token|jwt)"' + _TEXT
_RENEWAL = r'"refresh_token"' + _TEXT
_CODE = r'(?i)\["location", "[^"]*[?&#]code=([^&"#\\]+)'
_RENEWS = r"(?i)refresh|renew|exchange"
_IS_JSON = rf'^{_BLANK}(?:[\[{{"]|(?:-?[0-9][0-9.eE+-]*|true|false|null){_BLANK}\z)'
_IS_FORM = rf"^[^ \t\r\n=&<]{{1,100}}=[^ \t\r\n<]*{_BLANK}\z"
_IS_NOTHING = rf"^{_BLANK}(?:null|\{{{_BLANK}\}}|\[{_BLANK}\])?{_BLANK}\z"
_NO_ENTRIES = rf"\[{_BLANK}\]"

# Whether anything that `EXTRACTS` looks for may be there: most exchanges have none, and are spared the search.
_BODY_ASKS = (
    r'"(?:query|operationName|sha256Hash|documentId|document_id|queryId|query_id|doc_id|jsonrpc)"'
    r"|^[ \t\r\n]*(?:query|mutation|subscription|fragment)[ \t\r\n({@]|(?:^|&)query=|[Ee][Nn][Vv][Ee][Ll][Oo][Pp][Ee]"
)
_HEADERS_ASK = r'(?i)\["(?:soapaction|x-amz-target)"|soap\+xml'
_PATH_ASKS = r"(?i)graph-?ql|gql|rpc/?\z"
_QUERY_ASKS = r"(?:^|&)(?:operationName|query|documentId|queryId|doc_id)=|sha256Hash"

_LONGEST_BODY = LONGEST_BODY
_LONGEST_EMPTY = 1_000  # a page without entries may still have links and counts

# A path's long numbers and ids, as one of their kind: between doubled slashes, so that neighbours do not share one.
_ALIKE = (
    (r"/[0-9]{5,7}/", "/100000/"),
    (r"/[0-9]{9,12}/", "/1000000000/"),
    (
        r"/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/",
        "/1b4e28ba-2fa1-41d2-883f-0016d3cca427/",
    ),
)


def facts(exchanges: ibis.Table, engine: Engine) -> ibis.Table:
    """One row an exchange.

    ``t`` and ``te`` are when it started and ended, in microseconds since 1970; ``form`` its path with long ids made
    alike; ``asked`` what its operation is named from; ``who`` all that says who sent it, the body of a login included;
    ``given`` the session and the tokens that its answer handed out, and whether it read or renewed; ``variant`` the
    names of its query and the form of its body; ``small`` the form of an answer that may be empty, NULL for one that is
    not.
    """
    sent, got = exchanges.request_headers, exchanges.response_headers.fill_null("")
    sent_text, answer_text = engine.text(exchanges.request_body), engine.text(exchanges.response_body)
    body = sent_text.fill_null("").substr(0, _LONGEST_BODY)
    answer = answer_text.fill_null("").substr(0, _LONGEST_BODY)
    start = engine.microseconds(exchanges["at"])
    login = body.re_search(_LOGS_IN).ifelse(body, "")
    went_well = exchanges.status.fill_null(599) < 400
    redirects = exchanges.status.fill_null(0).between(300, 399)
    # Most answers have no token: the expressions below cost more than to look for the word.
    has_token = answer.contains("token") | answer.contains("jwt")
    handed = _joined(
        got.re_extract(_SESSION_COOKIE, 1),
        *(has_token.ifelse(answer.re_extract(token, 1), "") for token in (_ACCESS, _IDENTITY, _RENEWAL)),
        redirects.ifelse(got.re_extract(_CODE, 1), ""),
    )
    reads, renews = exchanges.method.upper() == "GET", exchanges.path.re_search(_RENEWS)
    given = _joined(reads.ifelse("reads", ""), renews.ifelse("renews", ""), handed)
    return exchanges.select(
        t=start,
        te=start + (exchanges.duration_s.clip(lower=0) * 1e6).round().cast("int64"),
        method=exchanges.method.upper(),
        path=exchanges.path,
        form=_alike(exchanges.path),
        asked=_asked(exchanges, body),
        query=exchanges.query,
        status=exchanges.status.fill_null(0),
        size_bytes=exchanges.response_bytes.fill_null(0),
        agent=sent.re_extract(_AGENT, 1),
        who=_joined(
            exchanges.client.replace(SEPARATOR, " "),
            sent.re_extract(_AUTHORIZATION, 1),
            sent.re_extract(_COOKIE, 1),
            sent.re_extract(_KEY_HEADER, 1),
            exchanges.query.re_extract(_KEY_IN_QUERY, 1),
            login,
        ),
        given=(went_well & (handed != SEPARATOR * 4)).ifelse(given, ""),
        variant=_joined(_names(exchanges["query"]), _body_form(exchanges.request_body, sent_text, body, engine)),
        small=_small(answer_text, answer, engine),
    )


def _joined(*texts: ibis.Value) -> ibis.Value:
    joined = texts[0]
    for text in texts[1:]:
        joined = joined + SEPARATOR + text
    return joined


def _alike(path: ibis.Value) -> ibis.Value:
    text = path.replace("/", "//") + "/"
    for pattern, one in _ALIKE:
        text = text.re_replace(pattern, one)
    text = text.replace("//", "/")
    return text.substr(0, text.length() - 1)


def _asked(exchanges: ibis.Table, body: ibis.Value) -> ibis.Value:
    """What ``operation_from`` names an operation from, joined; empty where nothing looks like one."""
    sources = {"query": exchanges["query"], "headers": exchanges.request_headers, "body": body}
    query = exchanges["query"]
    asks = (
        ((body != "") & body.re_search(_BODY_ASKS))
        | ((query != "") & query.re_search(_QUERY_ASKS))
        | (((body != "") | (query != "")) & exchanges.request_headers.re_search(_HEADERS_ASK))
        | exchanges.path.re_search(_PATH_ASKS)
    )
    groups = [
        sources[extract.source].re_extract(extract.pattern, group + 1).fill_null("")
        for extract in EXTRACTS
        for group in range(extract.groups)
    ]
    return asks.ifelse(_joined(*groups), "")


def _names(query: ibis.Value) -> ibis.Value:
    return query.re_replace("=[^&]*", "")


def _body_form(kept: ibis.Value, text: ibis.Value, body: ibis.Value, engine: Engine) -> ibis.Value:
    """What a body is made of: JSON without its values, the names of a form's fields, or a word for what it is."""
    return ibis.cases(
        (kept.isnull(), ""),
        (text.isnull(), "other"),
        (body == "", "empty"),
        (body.re_search(_IS_JSON), "json " + _valueless(body, engine)),
        (body.re_search(_IS_FORM), "form " + _names(body)),
        (body.re_search(rf"^{_BLANK}<"), "xml"),
        else_="other",
    )


def _valueless(json: ibis.Value, engine: Engine) -> ibis.Value:
    r"""JSON whose texts are empty and whose numbers are 0.

    Characters that cannot stand in JSON mark what was found: ``\x02`` to ``\x03`` a text, to ``\x04`` a key, ``\x05``
    behind each key and in place of each number; ``\x06`` and ``\x07`` stand for escapes with a backslash or a quote.
    """
    text = json.replace("\\\\", "\x06").replace('\\"', "\x07")
    text = text.re_replace('"([^"]*)"', f"\x02{engine.first_group}\x03").re_replace(f"\x03{_BLANK}:", "\x04:")
    text = text.re_replace("\x02[^\x02-\x04]*\x03", '""')
    text = text.re_replace("(\x02[^\x04]*\x04)|-?[0-9][0-9.eE+-]*", f"{engine.first_group}\x05")
    text = text.replace("\x04\x05", '"').replace("\x02", '"').replace("\x05", "0")
    return text.replace("\x07", '\\"').replace("\x06", "\\\\")


def _small(text: ibis.Value, answer: ibis.Value, engine: Engine) -> ibis.Value:
    page = (answer.length() <= _LONGEST_EMPTY) & answer.re_search(_NO_ENTRIES)
    return ibis.cases(
        (text.isnull(), ibis.null("string")),
        (answer.re_search(_IS_NOTHING), ""),
        (page, _valueless(answer, engine)),
        else_=ibis.null("string"),
    )
