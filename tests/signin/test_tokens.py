"""Tokens and secrets against who should not have them. The numbers are those of the list of attacks."""

import base64
import json

import httpx
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound, PermissionDenied, ResourceConflict, Unauthenticated
from databricks.sdk.service.settings import PublicTokenInfo, TokenAccessControlRequest, TokenPermissionLevel

ME = "/api/2.0/preview/scim/v2/Me"


def signed(server, token):
    return WorkspaceClient(host=server.url, token=token, auth_type="pat")


def status(server, token, path=ME):
    return httpx.get(server.url + path, headers={"authorization": f"Bearer {token}"}).status_code


def trail(platform):
    rows = platform.snapshot(lambda ctx: ctx.tx.all("SELECT * FROM audit"))
    return json.dumps([[str(value) for value in dict(row).values()] for row in rows])


def machine_token(server, machine, secret, **form):
    given = {"grant_type": "client_credentials", "client_id": machine.application_id, "client_secret": secret, **form}
    return httpx.post(f"{server.url}/oidc/v1/token", data=given)


@pytest.fixture
def machine(people):
    return people.admin.client.service_principals.create(display_name="trainer")


def test_a01_a_token_in_the_query_a_cookie_or_the_body_is_none_and_is_not_written_down(server, people, caplog):
    token = people.person("ada@example.com").token
    for where in ("access_token", "token"):
        assert httpx.get(f"{server.url}{ME}?{where}={token}").status_code == 401
        assert httpx.get(server.url + ME, cookies={where: token, "lakewright_session": token}).status_code == 401
        answer = httpx.post(f"{server.url}/api/2.0/token/create", json={where: token})
        assert answer.status_code == 401
    answer = httpx.post(f"{server.url}/api/2.0/token/create", data={"access_token": token})
    assert answer.status_code in (400, 401)
    assert httpx.get(f"{server.url}/nothing/here?access_token={token}").status_code == 404
    assert token not in trail(server.platform)
    assert token not in caplog.text


def test_a02_an_expired_token_is_refused(server, people, clock):
    token = people.person("ada@example.com").client.tokens.create(lifetime_seconds=60).token_value
    clock.advance(59)
    assert status(server, token) == 200
    clock.advance(2)
    assert status(server, token) == 401


def test_a03_a_revoked_token_fails_on_the_next_request_on_every_node(server, people, settings, clock):
    """Revoked through one node; the other has just used it. On SQLite the one node there is."""
    from lakewright.app import build
    from lakewright.kernel.context import RequestInfo
    from lakewright.kernel.faults import Unauthenticated as Refused

    ada = people.person("ada@example.com")
    made = ada.client.tokens.create()
    other = server.platform
    if settings.database_url:
        other = build(settings.model_copy(update={"data_dir": settings.data_dir}), clock)

    def use():
        with other.store.snapshot() as tx:
            return other.authenticator(other, tx, f"Bearer {made.token_value}")

    try:
        assert use().name == "ada@example.com"
        ada.client.tokens.delete(made.token_info.token_id)
        with pytest.raises(Refused):
            use()
        assert RequestInfo("unused").source == "internal"
    finally:
        if other is not server.platform:
            other.stop()


def test_a04_tokens_of_deactivated_and_deleted_people_and_machines_stop_at_once(server, people):
    from lakewright.identity import principals

    for who in (people.person("ada@example.com"), people.service_principal("robot")):
        assert status(server, who.token) == 200
        server.platform.transact(lambda ctx, who=who: principals.set_active(ctx, who.id, False))
        assert status(server, who.token) == 401
    gone = people.person("eve@example.com")
    people.admin.client.users.delete(gone.id)
    assert status(server, gone.token) == 401


def test_a05_after_a_secret_is_rotated_neither_it_nor_what_it_brought_works(server, people, machine):
    admin = people.admin.client
    old = admin.service_principal_secrets_proxy.create(machine.id)
    token = machine_token(server, machine, old.secret).json()["access_token"]
    new = admin.service_principal_secrets_proxy.create(machine.id)
    assert machine_token(server, machine, new.secret).status_code == 200, "both work while clients change over"
    assert status(server, token) == 200
    admin.service_principal_secrets_proxy.delete(machine.id, old.id)
    assert machine_token(server, machine, old.secret).status_code == 401
    assert status(server, token) == 401, "a token the old secret brought ends with it"
    assert machine_token(server, machine, new.secret).status_code == 200


def test_a_machine_has_two_secrets_at_most(people, machine):
    secrets = people.admin.client.service_principal_secrets_proxy
    first = secrets.create(machine.id, lifetime="3600s")
    secrets.create(machine.id)
    with pytest.raises(ResourceConflict, match="at most 2 secrets"):
        secrets.create(machine.id)
    secrets.delete(machine.id, first.id)
    secrets.create(machine.id)
    for wrong in ("0s", "-1s", "1e9s", "٣s", "99999999999s"):
        with pytest.raises(Exception, match="lifetime"):
            secrets.create(machine.id, lifetime=wrong)


def test_a16_an_unknown_client_a_wrong_secret_and_anothers_secret_are_answered_alike(server, people, machine):
    admin = people.admin.client
    secret = admin.service_principal_secrets_proxy.create(machine.id).secret
    other = admin.service_principals.create(display_name="other")
    answers = {
        machine_token(server, machine, "lws_wrong").text,
        machine_token(server, other, secret).text,
        httpx.post(
            f"{server.url}/oidc/v1/token",
            data={"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "x"},
        ).text,
        httpx.post(f"{server.url}/oidc/v1/token", data={"grant_type": "client_credentials"}).text,
    }
    assert len(answers) == 1
    assert json.loads(answers.pop())["error"] == "invalid_client"


def test_a16_a_secret_is_found_by_its_digest_alone_so_no_comparison_stops_early(server, people, machine):
    """Digests of one length, keyed: a guess that is nearly right is looked up exactly like one that is not."""
    from lakewright.identity import credentials

    secret = people.admin.client.service_principal_secrets_proxy.create(machine.id).secret
    keys = server.platform.keys
    near = credentials.hashed(keys, secret[:-1] + ("A" if secret[-1] != "A" else "B"))
    right = credentials.hashed(keys, secret)
    assert sum(a == b for a, b in zip(near, right, strict=True)) < 20, "one letter changes the whole digest"
    stored = server.platform.snapshot(lambda ctx: [row["hash"] for row in ctx.tx.all("SELECT hash FROM tokens")])
    assert right in stored
    assert {len(each) for each in stored} == {64}
    assert not any(secret in each for each in stored)


def test_a19_failures_of_one_address_are_slowed_and_told_when_to_come_back(server, people, machine, clock):
    secret = people.admin.client.service_principal_secrets_proxy.create(machine.id).secret
    codes = [machine_token(server, machine, "wrong").status_code for _ in range(25)]
    assert codes[:20] == [401] * 20
    assert codes[20:] == [429] * 5
    refused = machine_token(server, machine, secret)
    assert refused.status_code == 429, "the address waits, whatever it brings"
    assert refused.json()["error"] == "invalid_request"
    clock.advance(int(refused.headers["retry-after"]))
    assert machine_token(server, machine, secret).status_code == 200
    assert status(server, people.admin.token) == 200, "tokens are not held up"


def test_a19_outsiders_who_fail_on_purpose_do_not_shut_the_owner_out(clock):
    from lakewright.identity.attempts import Attempts
    from lakewright.kernel.faults import TooMany

    attempts = Attempts(clock, per_source=20, per_account=50, seconds=3)
    attempts.check("192.0.2.1", "admin")
    attempts.succeeded("192.0.2.1", "admin")
    for n in range(1000):
        attempts.failed(f"198.51.100.{n % 250}", "admin")
    attempts.check("192.0.2.1", "admin")
    with pytest.raises(TooMany):
        attempts.check("203.0.113.7", "admin")
    attempts.check("203.0.113.7", "somebody else")
    clock.advance(3000)
    attempts.check("203.0.113.7", "admin")


def test_a19_a_neighbour_behind_the_same_address_does_not_shut_others_out(clock):
    from lakewright.identity.attempts import Attempts
    from lakewright.kernel.faults import TooMany

    attempts = Attempts(clock, per_source=20, per_account=50, seconds=3)
    attempts.succeeded("192.0.2.1", "trainer")
    for _ in range(100):
        attempts.failed("192.0.2.1", "broken pipeline")
    attempts.check("192.0.2.1", "trainer")
    with pytest.raises(TooMany):
        attempts.check("192.0.2.1", "somebody new")
    for _ in range(20):
        attempts.failed("192.0.2.1", "trainer")
    with pytest.raises(TooMany):
        attempts.check("192.0.2.1", "trainer")


def test_a19_one_machines_many_addresses_are_one_and_memory_stays_bounded(clock):
    from lakewright.identity import attempts as module
    from lakewright.kernel.faults import TooMany

    attempts = module.Attempts(clock, per_source=20, per_account=50, seconds=3)
    for n in range(30):
        attempts.failed(f"2001:db8::{n:x}")
    with pytest.raises(TooMany):
        attempts.check("2001:db8::ffff")
    attempts.check("2001:db8:0:1::1")
    for n in range(module.LARGEST + 500):
        attempts.failed(f"{n}", f"account {n}")
        attempts.succeeded(f"{n}", f"account {n}")
    assert len(attempts._sources._buckets) <= module.LARGEST
    assert len(attempts._accounts._buckets) <= module.LARGEST
    assert len(attempts._known) <= module.LARGEST
    assert len(attempts._pairs._buckets) <= module.LARGEST


def test_a20_there_is_no_default_credential(settings, clock):
    from lakewright.app import build
    from lakewright.identity.first_start import FirstToken
    from lakewright.kernel.socket import check_exposure

    with pytest.raises(ValueError, match="without TLS"):
        check_exposure(settings.model_copy(update={"host": "0.0.0.0"}))
    platform = build(settings.model_copy(update={"admin_token": None}), clock)
    try:
        first = platform.the(FirstToken).secret
        assert first.startswith("lwa_")
        assert len(first) > 40
        for guess in ("admin:admin", "admin:password", "token:", "token:admin"):
            basic = base64.b64encode(guess.encode()).decode()
            with platform.store.snapshot() as tx, pytest.raises(Exception, match="token"):
                platform.authenticator(platform, tx, f"Basic {basic}")
    finally:
        platform.stop()


@pytest.fixture
def fresh(settings, clock):
    """A platform whose first token is its own."""
    from actors import Served

    from lakewright.app import build, serve
    from lakewright.kernel.socket import Server

    unset = settings.model_copy(update={"admin_token": None})
    started = []

    def start():
        while started:
            started.pop()()
        platform = build(unset, clock)
        listening = Server(serve(platform), unset)
        url = listening.start()
        started.extend([platform.stop, listening.stop])
        return Served(url, platform)

    yield start
    while started:
        started.pop()()


def test_a21_the_first_token_makes_one_other_and_is_then_spent(fresh):
    from lakewright.identity.first_start import FirstToken

    server = fresh()
    first = server.platform.the(FirstToken).secret
    assert status(server, first) == 200
    kept = signed(server, first).tokens.create(comment="kept").token_value
    assert status(server, first) == 401
    assert status(server, kept) == 200
    assert fresh().platform.the(FirstToken).secret == "", "an administrator holds a token: no other is made"


def test_a21_a_lost_first_token_ends_by_itself_and_the_next_start_makes_another(fresh, clock):
    from lakewright.identity.first_start import FirstToken

    server = fresh()
    lost = server.platform.the(FirstToken).secret
    clock.advance(24 * 3600 + 1)
    assert status(server, lost) == 401
    server = fresh()
    again = server.platform.the(FirstToken).secret
    assert again not in ("", lost)
    assert status(server, again) == 200


def test_a21_opening_the_console_spends_the_first_token(fresh):
    from lakewright.identity.first_start import FirstToken

    server = fresh()
    first = server.platform.the(FirstToken).secret
    opened = httpx.post(f"{server.url}/console/login", data={"token": first}, headers={"origin": server.url})
    assert opened.status_code == 303
    assert status(server, first) == 401
    again = httpx.post(f"{server.url}/console/login", data={"token": first}, headers={"origin": server.url})
    assert again.status_code == 401


def test_a22_a_token_for_sql_is_refused_on_jobs_and_a_reader_on_writes(server, people):
    ada = people.person("ada@example.com").client
    sql = signed(server, ada.tokens.create(scopes=["sql"]).token_value)
    list(sql.warehouses.list())
    with pytest.raises(PermissionDenied, match="limited to the scopes sql; .* needs jobs"):
        list(sql.jobs.list())
    assert sql.current_user.me().user_name == "ada@example.com"
    reader = signed(server, ada.tokens.create(scopes=["jobs:read"]).token_value)
    list(reader.jobs.list())
    with pytest.raises(PermissionDenied, match="limited to the scopes jobs:read"):
        reader.jobs.create(name="x")
    with pytest.raises(Exception, match="unknown scope: everything"):
        ada.tokens.create(scopes=["everything"])


def test_a22_a_limited_token_makes_none_that_is_wider(server, people):
    ada = people.person("ada@example.com").client
    narrow = signed(server, ada.tokens.create(scopes=["authentication", "sql"]).token_value)
    for wider in (["all-apis"], ["jobs"], ["sql", "jobs"]):
        with pytest.raises(PermissionDenied, match="cannot make one for"):
            narrow.tokens.create(scopes=wider)
    made = narrow.tokens.create()
    assert sorted(made.token_info.scopes) == ["authentication", "sql"]
    other = ada.tokens.create(scopes=["sql"]).token_info.token_id
    with pytest.raises(PermissionDenied, match="cannot make one for"):
        narrow.api_client.do(
            "PATCH", f"/api/2.0/token/{other}", body={"token": {"scopes": ["all-apis"]}, "update_mask": "scopes"}
        )
    answer = httpx.post(f"{server.url}/console/login", data={"token": made.token_value}, headers={"origin": server.url})
    assert answer.status_code == 403
    assert "limited to scopes" in answer.text


def test_a22_tokens_of_tasks_and_machines_make_none_that_outlive_what_they_came_from(server, people, machine, clock):
    from lakewright.identity import tokens

    ada = people.person("ada@example.com")
    _, task = server.platform.transact(lambda ctx: tokens.mint(ctx, ada.id, 600, "task"))
    with pytest.raises(PermissionDenied, match="a task's token"):
        signed(server, task).tokens.create()
    admin = people.admin.client
    given = admin.token_management.create_obo_token(machine.application_id, lifetime_seconds=600)
    as_machine = signed(server, given.token_value)
    with pytest.raises(PermissionDenied, match="cannot live longer"):
        as_machine.tokens.create(lifetime_seconds=601)
    child = as_machine.tokens.create()
    assert child.token_info.expiry_time <= given.token_info.expiry_time
    admin.token_management.delete(given.token_info.token_id)
    assert status(server, child.token_value) == 401, "what came from it ended with it"
    secret = admin.service_principal_secrets_proxy.create(machine.id, lifetime="7200s").secret
    oauth = signed(server, machine_token(server, machine, secret).json()["access_token"])
    assert oauth.tokens.create().token_info.expiry_time <= clock.now() + 7200_000


def test_a22_a_machine_asks_for_less_than_it_may(server, people, machine):
    secret = people.admin.client.service_principal_secrets_proxy.create(machine.id).secret
    answer = machine_token(server, machine, secret, scope="sql files:read").json()
    assert answer["scope"] == "files:read sql"
    assert status(server, answer["access_token"], "/api/2.2/jobs/list") == 403
    assert machine_token(server, machine, secret, scope="root").json()["error"] == "invalid_scope"


def test_a24_a_machines_secret_is_shown_once_and_is_nowhere_afterwards(server, people, machine):
    admin = people.admin.client
    made = admin.service_principal_secrets_proxy.create(machine.id)
    machine_token(server, machine, made.secret)
    listed = admin.api_client.do("GET", f"/api/2.0/accounts/servicePrincipals/{machine.id}/credentials/secrets")
    assert listed["secrets"][0]["id"] == made.id
    assert made.secret not in json.dumps(listed)
    assert made.secret not in trail(server.platform)
    for file in server.platform.settings.data_dir.rglob("*"):
        if file.is_file():
            assert made.secret.encode() not in file.read_bytes()


def test_lifetimes_have_a_longest_and_a_default(settings, clock, tmp_path, server, people):
    ada = people.person("ada@example.com").client
    assert ada.tokens.create().token_info.expiry_time == clock.now() + 90 * 86400_000
    with pytest.raises(Exception, match="lifetime_seconds must be between 1 and 63072000"):
        ada.tokens.create(lifetime_seconds=730 * 86400 + 1)
    with pytest.raises(Exception, match="lifetime_seconds must be between"):
        ada.tokens.create(lifetime_seconds=-5)


def test_an_administrator_sees_every_token_and_revokes_it(server, people):
    admin = people.admin.client
    ada, bob = people.person("ada@example.com"), people.person("bob@example.com")
    made = ada.client.tokens.create(comment="laptop")
    seen = {t.token_id: t for t in admin.token_management.list()}
    assert seen[made.token_info.token_id].comment == "laptop"
    assert str(seen[made.token_info.token_id].owner_id) == ada.id
    mine = [t.token_id for t in admin.token_management.list(created_by_username="ada@example.com")]
    assert made.token_info.token_id in mine
    by_id = [t.token_id for t in admin.token_management.list(created_by_id=int(ada.id))]
    assert by_id == mine
    assert admin.token_management.get(made.token_info.token_id).token_info.created_by_username == "ada@example.com"
    with pytest.raises(PermissionDenied):
        list(bob.client.token_management.list())
    with pytest.raises(NotFound):
        bob.client.tokens.delete(made.token_info.token_id)
    admin.token_management.delete(made.token_info.token_id)
    assert status(server, made.token_value) == 401
    everything = admin.api_client.do("GET", "/api/2.1/lakewright/credentials", query={"principal": "bob@example.com"})
    assert [c["kind"] for c in everything["credentials"]] == ["personal"]
    assert made.token_value not in json.dumps(everything)


def test_who_may_have_personal_tokens_is_a_permission(server, people):
    admin = people.admin.client
    ada, bob = people.person("ada@example.com"), people.person("bob@example.com", groups=["builders"])
    admin.token_management.set_permissions(
        access_control_list=[
            TokenAccessControlRequest(group_name="builders", permission_level=TokenPermissionLevel.CAN_USE)
        ]
    )
    assert admin.token_management.get_permission_levels().permission_levels
    with pytest.raises(PermissionDenied, match="CAN_USE on authorization"):
        ada.client.tokens.create()
    bob.client.tokens.create()
    with pytest.raises(PermissionDenied):
        ada.client.token_management.update_permissions(
            access_control_list=[
                TokenAccessControlRequest(user_name="ada@example.com", permission_level=TokenPermissionLevel.CAN_USE)
            ]
        )


def test_a_comment_can_be_changed_and_nothing_else_is_accepted(people):
    from google.protobuf.field_mask_pb2 import FieldMask

    ada = people.person("ada@example.com").client
    made = ada.tokens.create(comment="old").token_info
    ada.tokens.update(made.token_id, PublicTokenInfo(comment="new"), FieldMask(paths=["comment"]))
    assert "new" in [t.comment for t in ada.tokens.list()]
    with pytest.raises(Exception, match="does not support the field 'expiryTime'|expiry_time"):
        ada.tokens.update(made.token_id, PublicTokenInfo(expiry_time=1), FieldMask(paths=["expiry_time"]))


def test_a_secret_of_another_kind_is_not_a_bearer(server, people, machine):
    """A console session's, a machine's or an application's secret does not open the API by itself."""
    session = httpx.post(
        f"{server.url}/console/login", data={"token": people.admin.token}, headers={"origin": server.url}
    ).cookies
    for value in session.values():
        assert status(server, value) == 401
    assert status(server, people.admin.client.service_principal_secrets_proxy.create(machine.id).secret) == 401
    with pytest.raises(Unauthenticated):
        signed(server, "lwr_nothing").current_user.me()
