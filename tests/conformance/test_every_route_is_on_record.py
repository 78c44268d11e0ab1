"""Every route, called for real: one row each, with whose it was, what, on what, how it ended and why."""

import re

import httpx
from test_every_operation import called, fields_of, planted  # noqa: F401 (a fixture)

from lakewright.kernel.operation import OPERATIONS
from lakewright.kernel.rules import PUBLIC

PRINCIPALS = {"user": "user", "group": "group", "servicePrincipal": "service_principal"}
"""Kinds that are principals too, and what they are called as such."""


def requests(operation, planted):  # noqa: F811
    """As it is meant, with a body that is no JSON, with a field that nobody enforces, and without a credential."""
    for path in (operation.path, *operation.also):
        rest = fields_of(operation, planted)
        for name in re.findall(r"{(\w+)(?::rest)?}", path):
            path = re.sub(rf"{{{name}(:rest)?}}", str(rest.pop(name, "x")), path)
        in_query = operation.verb in ("GET", "DELETE", "HEAD") or operation.body in ("file", "raw")
        meant = {"params": rest} if in_query else {"data": rest} if operation.body == "form" else {"json": rest}
        yield path, "meant", meant
        if operation.body in ("json", "multipart") and operation.verb not in ("GET", "HEAD"):
            yield path, "malformed", {"content": b'{"a": '}
        yield path, "nonsense", {"params": {"nobody_enforces_this": "1"}}
        yield path, "nobody", {}


def test_every_route_leaves_one_row_that_says_it_all_and_none_breaks(server, people, planted):  # noqa: F811
    sent, wrong = {}, []
    server.platform.transact(lambda ctx: [known(ctx, planted[kind]) for kind in PRINCIPALS])
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for number, (operation, (path, how, more)) in enumerate(
            (o, r) for o in OPERATIONS for r in requests(o, planted)
        ):
            mark = f"route-{number}"
            headers = {"user-agent": mark, "x-request-id": f"theirs-{number}"}
            if how != "nobody":
                headers["authorization"] = f"Bearer {people.admin.token}"
            answer = client.request(operation.verb, path, headers=headers, **more)
            sent[mark] = (operation, path, how, answer.status_code)
    rows = server.platform.snapshot(
        lambda ctx: [dict(r) for r in ctx.tx.all("SELECT * FROM audit WHERE user_agent LIKE 'route-%'")]
    )
    by_mark = {}
    for row in rows:
        by_mark.setdefault(row["user_agent"], []).append(row)
    for mark, (operation, path, how, status) in sent.items():
        found = [
            r for r in by_mark.get(mark, []) if r["action"] == operation.audit and r["service"] == operation.service
        ]
        others = [r["action"] for r in by_mark.get(mark, []) if r not in found]
        problem = fault(operation, how, status, found, mark) or (others and how != "meant" and f"and also {others}")
        if problem:
            wrong.append(f"{called(operation)} ({path}, {how}): {status}: {problem}")
    assert not wrong, "\n".join(wrong)
    assert len(sent) > 1000


def known(ctx, principal):
    """A planted principal that others can be asked about."""
    ctx.tx.run(
        "INSERT INTO principals (id, kind, name, display_name, active, created_at) VALUES (?, ?, ?, ?, 1, 0)",
        principal.id, PRINCIPALS[principal.kind], f"planted {principal.name}", principal.name,
    )  # fmt: skip


def fault(operation, how, status, found, mark):
    if len(found) != 1:
        return f"{len(found)} rows"
    [row] = found
    if status >= 500 and status not in (501, 503):
        return f"broke: {row['error']}"
    if row["status"] != status and not (status < 400 and row["status"] == 200):
        return f"on record as {row['status']}"
    if (
        row["client_request_id"] != f"theirs-{mark.removeprefix('route-')}"
        or not row["request_id"]
        or row["source"] != "127.0.0.1"
    ):
        return "not where it came from"
    if row["who_name"] != ("admin" if how != "nobody" and operation.needs is not PUBLIC else ""):
        return f"on record as {row['who_name']!r}'s"
    if status in (401, 403) and (row["decision"] != "refused" or not row["because"]):
        return f"a refusal that is on record as {row['decision']!r}, because {row['because']!r}"
    if status < 400 and (row["decision"] != "allowed" or not row["because"] or not row["kind"] or not row["object_id"]):
        return f"allowed, but on record as {row['decision']!r} on {row['kind']!r} {row['object_id']!r}, because {row['because']!r}"
    if status >= 400 and not row["error"]:
        return "failed, and nobody knows of what"
    return None
