"""Older ways: view states, JSON-RPC, many things made at once, jobs in XML with tokens to the next page."""

from typing import Any


def record(log: Any) -> None:
    """Four clients of each kind, at once."""
    for number in range(4):
        _views(log, number, 1 + number * 0.71)
        _rpc(log, number, 1.2 + number * 0.53)
        _bulk(log, number, 1.4 + number * 0.61)
        _jobs(log, number, 1.6 + number * 0.67)
    for number in range(60):
        log.noise(0.5 + number * 0.4)


def _views(log: Any, number: int, at_s: float) -> None:
    me = f"10.7.1.{number}"
    cookie, before = log.token(18), -1
    sent = {"Cookie": f"ASP.NET_SessionId={cookie}"}
    state = guard = ""
    for turn in range(3):
        form = {
            "__VIEWSTATE": state,
            "__VIEWSTATEGENERATOR": "CA0B0334",
            "__RequestVerificationToken": guard,
            "ctl00$Rows": "20",
        }
        state, guard = f"/wEPDwUK{log.token(60)}", log.token(40)
        page = f"""<html><form method="post" action="./List.aspx">
        <input type="hidden" name="__VIEWSTATE" id="__VIEWSTATE" value="{state}" />
        <input type="hidden" name="__VIEWSTATEGENERATOR" value="CA0B0334" />
        <input name="__RequestVerificationToken" type="hidden" value="{guard}" />
        <select name="ctl00$Rows"><option value="20" selected>20</option></select></form></html>"""
        got = {} if turn else {"Set-Cookie": f"ASP.NET_SessionId={cookie}; path=/; HttpOnly"}
        if not turn:
            first = before = log.add(at_s, "GET /List.aspx", client=me, page=page, got=got)
            continue
        used = log.add(at_s + turn * 3, "POST /List.aspx", client=me, sent=sent, form=form, page=page)
        log.true("token", first, "cookie:ASP.NET_SessionId", used, "cookie:ASP.NET_SessionId")
        log.true("token", before, "html:hidden/__VIEWSTATE", used, "form:__VIEWSTATE")
        log.true("token", before, "html:hidden/__RequestVerificationToken", used, "form:__RequestVerificationToken")
        before = used


def _rpc(log: Any, number: int, at_s: float) -> None:
    me: dict[str, Any] = {"client": f"10.7.2.{number}", "sent": {"X-Api-Key": f"key-of-rpc-{number}"}}
    task, list_id = 55_000 + number, log.number()
    body = {"jsonrpc": "2.0", "id": 1, "method": "tasks.create", "params": {"list_id": list_id, "priority": 2}}
    made = log.add(at_s, "POST /rpc", body=body, answer={"jsonrpc": "2.0", "id": 1, "result": {"task_id": task}}, **me)
    for turn, method in enumerate(("tasks.get", "tasks.close")):
        body = {"jsonrpc": "2.0", "id": 2 + turn, "method": method, "params": {"task_id": task}}
        answer = {"jsonrpc": "2.0", "id": 2 + turn, "result": {"priority": 2, "owner_id": log.number()}}
        used = log.add(at_s + 1 + turn, "POST /rpc", body=body, answer=answer, **me)
        log.true("created", made, "json:/result/task_id", used, "json:/params/task_id")
    body = {"jsonrpc": "2.0", "id": 4, "method": "users.get", "params": {"user_id": answer["result"]["owner_id"]}}
    log.add(at_s + 3, "POST /rpc", body=body, answer={"jsonrpc": "2.0", "id": 4, "result": {"age": 44}}, **me)


def _bulk(log: Any, number: int, at_s: float) -> None:
    me: dict[str, Any] = {"client": f"10.7.3.{number}", "sent": {"X-Api-Key": f"key-of-bulk-{number}"}}
    ids = [210_000 + number * 10 + index for index in range(3)]
    body = {"labels": [{"text": f"label {index}", "size": 4} for index in range(3)]}
    answer = {"labels": [{"id": one, "size": 4} for one in ids]}
    made = log.add(at_s, "POST /v1/labels/batch", body=body, status=201, answer=answer, **me)
    for index, one in enumerate(ids):
        used = log.add(at_s + 1 + index, f"GET /v1/labels/{one}", answer={"id": one, "size": 4}, **me)
        log.true("created", made, f"json:/labels/{index}/id", used, "path")
    used = log.add(at_s + 5, "POST /v1/prints", body={"label_ids": ids, "copies": 2}, answer={"queued": 3}, **me)
    for index in range(3):
        log.true("created", made, f"json:/labels/{index}/id", used, f"json:/label_ids/{index}")


def _jobs(log: Any, number: int, at_s: float) -> None:
    me: dict[str, Any] = {"client": f"10.7.4.{number}", "sent": {"X-Api-Key": f"key-of-jobs-{number}"}}
    xml = {"Content-Type": "application/xml"}
    marker, before = "", -1
    for turn in range(3):
        following = log.token(20)
        page = f"""<?xml version="1.0" encoding="UTF-8"?><ListResult><IsTruncated>true</IsTruncated><Max>100</Max>
        <NextContinuationToken>{following}</NextContinuationToken><Contents><Key>a-{turn}.csv</Key><Size>{turn}200</Size>
        <ETag>&quot;{log.random.randbytes(16).hex()}&quot;</ETag></Contents></ListResult>"""
        query = f"&continuation-token={marker}" if marker else ""
        used = log.add(at_s + turn, f"GET /bucket?list-type=2&max-keys=100{query}", page=page, got=xml, **me)
        if marker:
            log.true("cursor", before, "xml:/ListResult/NextContinuationToken", used, "query:continuation-token")
        marker, before = following, used
    upload = log.token(24)
    page = f"<?xml version='1.0'?><InitiateResult><Key>big.bin</Key><UploadId>{upload}</UploadId></InitiateResult>"
    begun = log.add(at_s + 4, "POST /bucket/big.bin?uploads=1", page=page, got=xml, **me)
    tags = []
    for part in (1, 2):
        tags.append(f'"{log.random.randbytes(16).hex()}"')
        target = f"PUT /bucket/big.bin?partNumber={part}&uploadId={upload}"
        used = log.add(at_s + 4 + part, target, text="x" * 9, got={"ETag": tags[-1]}, **me)
        log.true("created", begun, "xml:/InitiateResult/UploadId", used, "query:uploadId")
