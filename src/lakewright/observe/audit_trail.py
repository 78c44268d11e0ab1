"""The audit trail to look at, check, take along and put away. By SQL its rows are in `system.access.audit`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field

from lakewright.kernel import audit, trail_files
from lakewright.kernel.answers import Stream
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import BadState, Conflict, Invalid
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, Api, Ask, Nothing, Reply
from lakewright.kernel.platform import Platform
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import ADMIN
from lakewright.kernel.store import Row

CHUNK = 5000
DAY = 86_400_000

api = Api("accounts", "/api/2.1/lakewright/audit")


class Verify(Ask):
    """`seq`, `hash` and `mac`: a checkpoint of an earlier verification, from which this one goes on."""

    seq: int | None = Field(None, ge=0)
    hash: str | None = None
    mac: str | None = None
    archives: bool = False


class Export(Ask):
    """Milliseconds since the epoch; `after`: the number of the last row one already has."""

    since: int = 0
    until: int | None = None
    after: int = Field(0, ge=0)


class Archive(Ask):
    before: int


@api("GET", "/verify", audit="verifyAuditTrail", on=IN_ACCOUNT, needs=ADMIN, runs=OUTSIDE)
def verify(ctx: Ctx, account: Obj[Root], ask: Verify) -> Reply:
    """Recomputes the chain over every row, and checks the signed head. The checkpoint it answers is worth keeping
    somewhere else: given back, it spares the rows before it, and shows a trail that was set back in the meantime."""
    key = ctx.platform.keys.audit
    broken, walk = audit.examine(lambda read: ctx.snapshot(lambda c: read(c.tx)), key, begin_at=_begin(ctx, ask))
    if broken is None and ask.archives:
        broken = _files_whole(ctx)
    found: Reply = {"whole": broken is None, "rows": walk.rows, "last": walk.seq}
    if broken is not None:
        return {**found, "seq": broken.seq, "what": broken.what}
    head = ctx.snapshot(lambda c: audit.head(c.tx))
    assert head is not None
    chain = audit.chain_of(key)
    return {**found, "checkpoint": trail_files.checkpoint(chain, walk.seq, walk.last, head.keyed_from)}


@api("GET", "/public-key", audit="getAuditPublicKey", on=IN_ACCOUNT, needs=ADMIN)
def public_key(ctx: Ctx, account: Obj[Root], ask: Nothing) -> Reply:
    """What exported and archived files are checked with."""
    return {"public_key": trail_files.Signer(ctx.platform.keys).public()}


@api("GET", "/export", audit="exportAuditTrail", on=IN_ACCOUNT, needs=ADMIN, runs=OUTSIDE)
def export(ctx: Ctx, account: Obj[Root], ask: Export) -> Stream:
    """Rows as JSON lines, signed; without a gap from the first to the last, because a gap could hide something."""
    after = max(ask.after, ctx.snapshot(lambda c: _before(c, ask.since)))
    last = ctx.snapshot(lambda c: _last(c, ask.until))
    rows = _rows(ctx, after, last)
    return Stream(trail_files.lines(rows, trail_files.Signer(ctx.platform.keys), ctx.now), "application/x-ndjson")


@api("GET", "/archives", audit="listAuditArchives", on=IN_ACCOUNT, needs=ADMIN)
def list_archives(ctx: Ctx, account: Obj[Root], ask: Nothing) -> Reply:
    shown = ("first", "last", "file", "digest", "at")
    return {"archives": [{name: getattr(a, name) for name in shown} for a in audit.archives(ctx.tx)]}


@api("POST", "/archive", audit="archiveAuditTrail", on=IN_ACCOUNT, needs=ADMIN, runs=OUTSIDE)
def archive(ctx: Ctx, account: Obj[Root], ask: Archive) -> Reply:
    """Moves the rows from before a moment into a signed file. The chain stays checkable: what was taken out is signed for."""
    if ask.before > ctx.now():
        raise Invalid("'before' lies in the future")
    made = put_away(ctx, ask.before)
    if made is None:
        return {"rows": 0}
    return {"rows": made.last - made.first + 1, "file": made.file, "first": made.first, "last": made.last}


# ---- how


def put_away(ctx: Ctx, before: int) -> audit.Archived | None:
    """The file is whole and durable before a row is taken out; a crash in between leaves rows that are in both."""
    base = ctx.snapshot(lambda c: audit.newest_archive(c.tx))
    _take_out(ctx, base.last if base else 0)
    last = ctx.snapshot(lambda c: _last(c, before - 1))
    after = base.last if base else 0
    if last <= after:
        return None
    made = _write(ctx, base, after, last)
    ctx.transact(lambda c: _noted(c, made, base))
    _take_out(ctx, made.last)
    return made


def _noted(ctx: Ctx, made: audit.Archived, base: audit.Archived | None) -> None:
    if audit.newest_archive(ctx.tx) != base:
        raise Conflict("somebody else has just archived rows")
    audit.note_archive(ctx.tx, ctx.platform.keys.audit, made)


def _write(ctx: Ctx, base: audit.Archived | None, after: int, last: int) -> audit.Archived:
    """Only a chain that is whole is put away: a file must not make good what was altered."""
    head = ctx.snapshot(lambda c: audit.head(c.tx))
    assert head is not None
    chain = audit.chain_of(ctx.platform.keys.audit)
    walk = audit.Walk(chain, head.keyed_from, after, base.hash if base else audit.GENESIS)

    def walked() -> Iterator[Row]:
        for rows in _chunks(ctx, after, last):
            if broken := walk.over(rows):
                raise BadState(f"the trail is broken at row {broken.seq} ({broken.what}); nothing was archived")
            yield from rows

    folder = ctx.settings.data_dir / "audit"
    folder.mkdir(mode=0o700, exist_ok=True)
    name = f"audit-{after + 1:012d}-{last:012d}.jsonl"
    draft = folder / f".{name}.{ctx.platform.node}"
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.writelines(trail_files.lines(walked(), trail_files.Signer(ctx.platform.keys), ctx.now))
            file.flush()
            os.fsync(file.fileno())
        checked = _checked(ctx, draft)
        os.rename(draft, folder / name)
    finally:
        draft.unlink(missing_ok=True)
    return audit.Archived(after + 1, last, walk.last, name, checked.digest, ctx.now())


def _take_out(ctx: Ctx, upto: int) -> None:
    """In pieces: nobody waits for millions of rows."""
    while ctx.transact(
        lambda c: c.tx.run(
            "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE seq <= ? ORDER BY seq LIMIT ?)", upto, CHUNK
        )
    ):
        pass


def _checked(ctx: Ctx, path: Path) -> trail_files.Checked:
    with path.open("rb") as file:
        return trail_files.check(file, trail_files.Signer(ctx.platform.keys).public())


def _files_whole(ctx: Ctx) -> audit.Break | None:
    chain = audit.chain_of(ctx.platform.keys.audit)
    upto = 0
    for each in ctx.snapshot(lambda c: audit.archives(c.tx)):
        try:
            if not each.is_ours(chain) or each.first != upto + 1:
                return audit.Break(each.first, f"the note of {each.file} is not ours, or one before it is missing")
            if _checked(ctx, ctx.settings.data_dir / "audit" / each.file).digest != each.digest:
                return audit.Break(each.first, f"{each.file} is not the file that was written")
        except trail_files.Broken as broken:
            return audit.Break(each.first + broken.line - 1, f"{each.file}: {broken}")
        except FileNotFoundError:
            return audit.Break(each.first, f"{each.file} is missing")
        upto = each.last
    return None


def _begin(ctx: Ctx, ask: Verify) -> audit.Walk | None:
    given = (ask.seq, ask.hash, ask.mac)
    if given == (None, None, None):
        return None
    head = ctx.snapshot(lambda c: audit.head(c.tx))
    chain = audit.chain_of(ctx.platform.keys.audit)
    if ask.seq is None or ask.hash is None or ask.mac is None or head is None:
        raise Invalid("a checkpoint is seq, hash and mac")
    walk = trail_files.resumed(chain, head, ask.seq, ask.hash, ask.mac)
    if walk is None:
        raise Invalid("this checkpoint was not made by this installation")
    return walk


def _before(ctx: Ctx, since: int) -> int:
    """The row before the first one of that time."""
    first = ctx.tx.scalar("SELECT MIN(seq) FROM audit WHERE at >= ?", since)
    return int(first) - 1 if first is not None else _last(ctx, None)


def _last(ctx: Ctx, until: int | None) -> int:
    """The last row before the first one that is later."""
    later = None if until is None else ctx.tx.scalar("SELECT MIN(seq) FROM audit WHERE at > ?", until)
    if later is not None:
        return int(later) - 1
    head = audit.head(ctx.tx)
    return head.seq if head else 0


def rows_of(ctx: Ctx) -> Iterator[Row]:
    """All of it."""
    return _rows(ctx, 0, ctx.snapshot(lambda c: _last(c, None)))


def _rows(ctx: Ctx, after: int, last: int) -> Iterator[Row]:
    for rows in _chunks(ctx, after, last):
        yield from rows


def _chunks(ctx: Ctx, after: int, last: int) -> Iterator[Sequence[Row]]:
    """Each in a state of the database of its own."""
    while after < last:
        rows: Sequence[Row] = ctx.snapshot(lambda c, after=after: audit.between(c.tx, after, last, CHUNK))
        if not rows:
            return
        yield rows
        after = int(rows[-1]["seq"])


@controller("audit.unfinished", every=5.0, on_every_node=True)
def unfinished(platform: Platform) -> None:
    """Work whose end could not be recorded when it ended."""
    platform.recover()


@controller("audit.archive", every=3600.0)
def retire(platform: Platform) -> None:
    """Rows older than they are to be kept in the database. Files are nobody's to delete but the administrator's."""
    days = platform.settings.audit.keep_days
    if days is not None:
        put_away(platform.system(), platform.clock.now() - int(days * DAY))
