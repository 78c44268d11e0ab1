"""What cannot be recorded does not happen: the answer is 503, and nothing has changed."""

import httpx
import pytest

from lakewright.kernel import audit
from lakewright.kernel.faults import Unavailable

TAKEN_AWAY = "ALTER TABLE audit RENAME TO audit_taken_away"
GIVEN_BACK = "ALTER TABLE audit_taken_away RENAME TO audit"


@pytest.fixture
def trail(platform):
    class Trail:
        def shut(self):
            platform.writer.submit(lambda turn: turn.tx.run(TAKEN_AWAY))

        def open(self):
            platform.writer.submit(lambda turn: turn.tx.run(GIVEN_BACK))

        def whole(self):
            return platform.snapshot(lambda ctx: audit.verify(ctx.tx, platform.keys.audit)) is None

    return Trail()


def test_a_write_a_read_a_list_and_a_file_are_all_refused(server, people, trail, settings):
    admin = people.admin.client
    admin.catalogs.create("main"), admin.schemas.create("s", "main")
    admin.api_client.do("POST", "/api/2.1/unity-catalog/volumes", body={
        "name": "v", "catalog_name": "main", "schema_name": "s", "volume_type": "MANAGED"})  # fmt: skip
    headers = {"authorization": f"Bearer {people.admin.token}"}
    ask = lambda verb, path, **more: httpx.request(verb, server.url + path, headers=headers, timeout=30, **more)
    calls = [
        ("POST", "/api/2.1/unity-catalog/catalogs", {"json": {"name": "never"}}),  # in the writer's transaction
        ("GET", "/api/2.1/unity-catalog/catalogs", {}),  # on a snapshot
        ("PUT", "/api/2.0/fs/files/Volumes/main/s/v/never.txt", {"content": b"never"}),  # outside of a transaction
        ("GET", "/api/9.9/nothing", {}),  # no operation at all
    ]
    trail.shut()
    answers = [ask(verb, path, **more) for verb, path, more in calls]
    assert [a.status_code for a in answers] == [503] * 4
    assert all(a.headers["retry-after"] for a in answers)
    trail.open()
    assert [c.name for c in admin.catalogs.list() if c.name == "never"] == []
    assert not list(settings.data_dir.rglob("never.txt"))
    assert ask("HEAD", "/api/2.0/fs/files/Volumes/main/s/v/never.txt").status_code == 404
    assert trail.whole()


def test_all_requests_of_a_batch_are_refused_together(platform, people, trail):
    trail.shut()
    with pytest.raises(Unavailable):
        from lakewright.identity import people as users

        platform.call(people.admin.id, users.create, userName="eve")
    trail.open()
    assert platform.snapshot(lambda ctx: ctx.tx.scalar("SELECT COUNT(*) FROM principals WHERE name = 'eve'")) == 0


def test_work_whose_end_could_not_be_recorded_is_recorded_later(platform, people, trail):
    """The trail fails while work is under way outside of transactions: a note of it was kept before it began."""
    from lakewright.kernel.context import RequestInfo
    from lakewright.kernel.platform import Call
    from lakewright.observe.audit_trail import verify

    who = platform.snapshot(lambda ctx: platform.principal(ctx.tx, people.admin.id))
    call = Call(platform, verify, RequestInfo("the-request"), who, {})
    platform.writer.submit(call.admit)
    platform.recover()  # it still runs: nothing to do
    call.outside()
    trail.shut()
    with pytest.raises(Unavailable):
        platform.writer.submit(call.finish)
    trail.open()
    platform.recover()
    platform.recover()
    rows = platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT action, status FROM audit WHERE request_id = 'the-request'")
    )
    assert [(r["action"], r["status"]) for r in rows] == [("verifyAuditTrail", 500)]
    assert trail.whole()
