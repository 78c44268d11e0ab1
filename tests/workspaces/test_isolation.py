"""Two workspaces with somebody in each: by no id, name, header, page token or token of one is the other reached."""

import random
import re
from uuid import uuid4

import httpx
from actors import ADMIN_TOKEN
from conformance.test_every_operation import KINDS_ONCE, fields_of

import lakewright.app  # noqa: F401 (declares the operations)
from lakewright.kernel import objects
from lakewright.kernel.operation import OPERATIONS
from lakewright.kernel.roots import WORKSPACE
from lakewright.kernel.rules import PUBLIC

SEED = 7
OF_WORKSPACES = [
    o for o in OPERATIONS
    if o.needs is not PUBLIC and o.on.kind is not None and o.on.kind.root is WORKSPACE and o.service != "console"
]  # fmt: skip


def planted_in(server, place, canary):
    """One object of every kind of a workspace, and of what it is under, named so that it would be noticed."""
    made = {}

    def plant(ctx):
        for kind in KINDS_ONCE:
            if kind.under is None:
                made[kind.name] = objects.find(ctx, kind, "")
            elif kind.root is WORKSPACE:
                under = made[kind.under.name]
                made[kind.name] = objects.create(ctx, kind, f"{canary}{kind.name}", kind.example, under=under)

    server.platform.transact(plant, workspace=place.id)
    return made


def state(ctx, place):
    """Every object of a workspace, living or not, and what is granted on them."""
    found = ctx.tx.all(f"SELECT {objects.COLUMNS}, deleted_at FROM objects WHERE workspace = ? ORDER BY id", place.id)
    grants = ctx.tx.all(
        'SELECT g.object_id, g.principal, g."right" FROM grants g JOIN objects o ON o.id = g.object_id'
        " WHERE o.workspace = ? ORDER BY 1, 2, 3",
        place.id,
    )
    return [tuple(row) for row in found], [tuple(row) for row in grants]


def test_every_operation_keeps_to_its_workspace(server, account, dev, qa):
    """Each declared operation, asked by an administrator of dev about what is in qa, in every way there is to say so."""
    canary, dice = f"canary{uuid4().hex[:8]}", random.Random(SEED)
    planted = planted_in(server, qa, canary)
    before = server.platform.snapshot(lambda ctx: state(ctx, qa))
    dora = account.person("dora", dev, admin=True)
    sideways = [
        {}, {"x-forwarded-host": "qa.localhost"}, {"x-databricks-workspace-id": qa.id}, {"x-databricks-org-id": qa.id},
        {"host": f"qa.localhost:{account.port}"}, {"host": "localhost", "x-databricks-workspace-id": qa.id},
    ]  # fmt: skip
    reached = []
    with httpx.Client(base_url=dev.url, headers={"authorization": f"Bearer {dora.token}"}, timeout=30) as http:
        for operation in OF_WORKSPACES:
            path, rest = operation.path, fields_of(operation, planted)
            for name in re.findall(r"{(\w+)(?::rest)?}", path):
                path = re.sub(rf"{{{name}(:rest)?}}", str(rest.pop(name, "x")), path)
            flat = operation.verb in ("GET", "DELETE", "HEAD") or operation.body == "file"
            answer = http.request(
                operation.verb, path, headers=dice.choice(sideways), **({"params": rest} if flat else {"json": rest})
            )
            told = canary in answer.text and canary not in path + str(rest)
            broken = answer.status_code >= 500 and answer.status_code != 501
            # By a name, something of one's own is meant; an id is there once.
            by_id = operation.on.is_id and operation.on.kind is not WORKSPACE and answer.status_code < 400
            if told or broken or by_id:
                reached.append((operation.name, answer.status_code, answer.text[:200]))
    seen = httpx.get(f"{qa.url}/api/2.0/sql/warehouses", headers={"authorization": f"Bearer {ADMIN_TOKEN}"})
    assert canary in seen.text, "the account's administrator sees it, so there was something to see"
    assert reached == []
    assert server.platform.snapshot(lambda ctx: state(ctx, qa)) == before


def test_a_token_cannot_be_exchanged_for_one_of_another_workspace(server, account, dev, qa):
    dora = account.person("dora", dev)
    asked = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": dora.token,
        "subject_token_type": "urn:databricks:params:oauth:token-type:personal-access-token", "scope": "all-apis",
    }  # fmt: skip
    answer = httpx.post(f"{qa.url}/oidc/v1/token", data=asked)
    token = answer.json().get("access_token", dora.token)
    me = httpx.get(f"{qa.url}/api/2.0/preview/scim/v2/Me", headers={"authorization": f"Bearer {token}"})
    assert me.status_code == 403


def test_both_workspaces_may_use_one_name_and_the_administrator_of_the_account_sees_both(server, account, dev, qa):
    names = []
    for place in (dev, qa):
        headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
        made = httpx.post(
            f"{place.url}/api/2.0/mlflow/experiments/create", json={"name": "/Shared/churn"}, headers=headers
        )
        found = httpx.post(
            f"{place.url}/api/2.0/mlflow/experiments/search", json={"max_results": 10}, headers=headers
        ).json()
        assert made.status_code == 200 and [e["experiment_id"] for e in found["experiments"]] == [
            made.json()["experiment_id"]
        ]
        names.append(found["experiments"][0]["name"])
    assert names == ["/Shared/churn", "/Shared/churn"]
