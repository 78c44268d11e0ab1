"""The host decides which workspace a request is for; what else names one has to agree."""

import httpx
import pytest
from actors import ADMIN_TOKEN
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config

from lakewright.identity import tokens, workspace_access
from lakewright.kernel import hosts
from lakewright.kernel.config import Settings

ME = "/api/2.0/preview/scim/v2/Me"


def ask(url: str, token: str = ADMIN_TOKEN, path: str = ME, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(f"{url}{path}", headers={"authorization": f"Bearer {token}", **named})


def test_each_host_says_which_workspace_it_is(account, server, dev):
    first = server.platform.workspace
    said = {
        host: httpx.get(f"http://{host}:{account.port}/.well-known/databricks-config").json()
        for host in ("127.0.0.1", "localhost", "main.localhost", "dev.localhost", "accounts.localhost")
    }
    assert {host: it.get("workspace_id") for host, it in said.items()} == {
        "127.0.0.1": first, "localhost": first, "main.localhost": first, "dev.localhost": dev.id, "accounts.localhost": None,
    }  # fmt: skip
    assert {it["account_id"] for it in said.values()} == {account.id}
    assert said["accounts.localhost"]["host_type"] == "ACCOUNT_HOST"
    assert said["dev.localhost"]["oidc_endpoint"] == f"{dev.url}/oidc"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "x.dev.localhost", "nothere.localhost"])
def test_no_other_name_is_answered_to_and_the_refusal_is_on_record(server, account, host):
    paths = (ME, "/.well-known/databricks-config")
    assert [ask(server.url, path=path, host=host).status_code for path in paths] == [421, 421]
    audited = server.platform.snapshot(lambda ctx: ctx.tx.all("SELECT who FROM audit WHERE status = 421"))
    assert len(audited) == 2


def test_a_forwarded_host_means_nothing(server, account, dev):
    answer = ask(server.url, x_forwarded_host="dev.localhost", forwarded="host=dev.localhost")
    assert answer.headers["x-databricks-org-id"] == server.platform.workspace


def test_headers_that_disagree_with_the_host_are_refused(server, account, dev, qa):
    for header in ("x_databricks_workspace_id", "x_databricks_org_id"):
        assert ask(dev.url, **{header: dev.id}).headers["x-databricks-org-id"] == dev.id
        refused = ask(dev.url, **{header: qa.id})
        assert refused.status_code == 403 and "not the one at this host" in refused.text
    both = {"x_databricks_workspace_id": dev.id, "x_databricks_org_id": qa.id}
    assert ask(server.url, **both).status_code == 403


def test_at_a_host_of_the_whole_installation_the_header_chooses(server, account, dev):
    for url in (server.url, f"http://accounts.localhost:{account.port}"):
        chosen = ask(url, x_databricks_workspace_id=dev.id)
        assert (chosen.status_code, chosen.headers["x-databricks-org-id"]) == (200, dev.id)
        assert ask(url, x_databricks_workspace_id="1").status_code == 403


def test_a_workspace_that_is_not_there_looks_like_one_that_is_closed_to_the_caller(server, account, dev, qa):
    dora = account.person("dora", dev)
    token = server.platform.call(dora.id, tokens.create, None, dev.id, comment="x")["token_value"]
    answers = [ask(server.url, token, x_databricks_workspace_id=w) for w in (qa.id, "123456789012345")]
    assert [a.status_code for a in answers] == [403, 403]


def test_the_unmodified_client_works_at_each_host(server, account, dev):
    admin = WorkspaceClient(config=Config(host=dev.url, token=ADMIN_TOKEN, auth_type="pat", retry_timeout_seconds=5))
    assert admin.get_workspace_id() == int(dev.id)
    made = admin.jobs.create(name="only in dev")
    assert [j.job_id for j in admin.jobs.list()] == [made.job_id]
    assert list(account.people.admin.client.jobs.list()) == []
    dora = account.person("dora", dev)
    assert dora.client.current_user.me().user_name == "dora"
    assert [o.path for o in dora.client.workspace.list("/Users")] == ["/Users/dora"]


def test_a_token_is_good_where_it_was_made(server, account, dev):
    dora = account.person("dora", dev)
    server.platform.transact(lambda ctx: workspace_access.assign(ctx, dora.id))  # she may enter both now
    assert ask(dev.url, dora.token).status_code == 200
    assert ask(server.url, dora.token).headers["x-databricks-org-id"] == dev.id, "on a plain host the token says where"
    elsewhere = ask(f"http://main.localhost:{account.port}", dora.token)
    assert elsewhere.status_code == 403 and "another workspace" in elsewhere.text
    seen = ask(server.url, dora.token, path=f"/api/2.0/accounts/{account.id}/workspaces").json()
    assert {w["workspace_name"] for w in seen} == {"main", "dev"}, "the account is asked with any of one's tokens"


def test_oauth_tokens_are_for_the_audience_they_were_asked_for(server, account, dev):
    machine = account.people.service_principal("robot")
    server.platform.transact(lambda ctx: workspace_access.assign(ctx, machine.id), workspace=dev.id)
    secret = account.people.admin.client.service_principal_secrets_proxy.create(machine.id)
    asked = {"grant_type": "client_credentials", "scope": "all-apis"}

    def token(path: str) -> str:
        answer = httpx.post(path, data=asked, auth=(machine.name, secret.secret or ""))
        return answer.json()["access_token"]

    in_dev = token(f"{dev.url}/oidc/v1/token")
    of_account = token(f"http://accounts.localhost:{account.port}/oidc/accounts/{account.id}/v1/token")
    main = f"http://main.localhost:{account.port}"
    assert [ask(url, in_dev).status_code for url in (dev.url, main)] == [200, 403]
    assert [ask(url, of_account).status_code for url in (dev.url, main)] == [403, 403]
    assert ask(server.url, of_account, path=f"/api/2.0/accounts/{account.id}/workspaces").status_code == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("dev.lake.example", hosts.Place("7", fixed=True)),
        ("DEV.lake.example.:8443", hosts.Place("7", fixed=True)),
        ("lake.example", hosts.Place("1", fixed=False)),
        ("accounts.lake.example", hosts.Place("", fixed=False)),
        ("[::1]:8470", hosts.Place("1", fixed=False)),
        ("192.168.7.7:1", hosts.Place("1", fixed=False)),
        ("dev.localhost", None),
        ("dev.lake.example.evil", None),
        ("", None),
    ],
)
def test_what_a_host_stands_for(tmp_path, host, expected):
    settings = Settings(data_dir=tmp_path, public_url="https://lake.example")
    assert hosts.place(host, settings, {"dev": "7"}, first="1") == expected


def test_addresses_of_workspaces_are_written_as_clients_reach_them(tmp_path):
    assert hosts.url_of("dev", Settings(data_dir=tmp_path)) == "http://dev.localhost:8470"
    public = Settings(data_dir=tmp_path, public_url="https://lake.example:8443/")
    assert hosts.url_of("dev", public) == "https://dev.lake.example:8443"
    named = Settings(data_dir=tmp_path, public_url="https://lake.example", base_host="w.example")
    assert hosts.url_of("accounts", named) == "https://accounts.w.example"
