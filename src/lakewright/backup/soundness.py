"""Soundness: whether everything an installation speaks of is there, and says the same wherever it is said.

The one place that looks across all parts at once. It reads one state of the database beside a running server and
changes nothing; `lakewright check` prints what it finds, and a restore ends with it.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakewright.backup.databases import Looking
from lakewright.catalog import places
from lakewright.engines import delta
from lakewright.kernel import audit, keys, migrate
from lakewright.kernel.config import Settings
from lakewright.kernel.context import SYSTEM
from lakewright.kernel.faults import Fault
from lakewright.kernel.keys import Keys
from lakewright.kernel.store import Tx
from lakewright.kernel.vault import Vault, is_in_drawer
from lakewright.models import files

MOST = 20
"""Findings per check that are told one by one."""


@dataclass(frozen=True)
class Site:
    settings: Settings
    tx: Tx
    keys: Keys
    deep: bool


@dataclass(frozen=True)
class Checked:
    what: str
    wrong: list[str]
    looked_at: int


Check = Callable[[Site], Iterator[str | None]]
"""Yields once for each thing it looked at: None, or what is wrong with it."""


def check(settings: Settings, *, deep: bool = False) -> list[Checked]:
    """Every check, in order. `deep` also reads the content of model files again."""
    looking = Looking(settings.database_url, settings.sqlite_path)
    try:
        with looking.snapshot() as tx:
            site = Site(settings, tx, _keys(settings, tx), deep)
            return [_one(name, each, site) for name, each in CHECKS.items()]
    finally:
        looking.close()


def _one(name: str, each: Check, site: Site) -> Checked:
    wrong: list[str] = []
    seen = more = 0
    for found in each(site):
        seen += 1
        if found is None:
            continue
        if len(wrong) < MOST:
            wrong.append(found)
        else:
            more += 1
    return Checked(name, [*wrong, f"… and {more} more"] if more else wrong, seen)


def _keys(settings: Settings, tx: Tx) -> Keys:
    master = keys.current(settings, tx)
    return Keys(master.unwrap(str(tx.scalar("SELECT wrapped FROM keyring WHERE name = 'root'"))))


# ---- the database


def database(site: Site) -> Iterator[str | None]:
    if site.settings.database_url:
        return  # Postgres holds its pages and foreign keys itself
    for row in site.tx.all("PRAGMA integrity_check"):
        yield None if row["integrity_check"] == "ok" else str(row["integrity_check"])
    for row in site.tx.all("PRAGMA foreign_key_check"):
        yield f"row {row['rowid']} of {row['table']} refers to a row of {row['parent']} that is not there"


def schema(site: Site) -> Iterator[str | None]:
    has = {str(r["version_num"]) for r in site.tx.all(f"SELECT version_num FROM {migrate.VERSION_TABLE}")}
    for unknown in sorted(has - migrate.revisions()):
        yield f"the database has {unknown}, which this version does not know"
    yield (
        None
        if site.tx.scalar("SELECT value FROM meta WHERE name = 'schema'") == migrate.digest()
        else ("the database is of an older version; the next start upgrades it")
    )


def trail(site: Site) -> Iterator[str | None]:
    broken, walk = audit.examine(lambda read: read(site.tx), site.keys.audit)
    yield from (None for _ in range(walk.seq))
    if broken is not None:
        yield f"row {broken.seq}: {broken.what}"


def secrets(site: Site) -> Iterator[str | None]:
    vault = Vault(site.keys)
    wrapped = {str(r["scope_id"]): str(r["wrapped"]) for r in site.tx.all("SELECT * FROM workspace_scope_keys")}
    for row in site.tx.all("SELECT scope_id, name, sealed FROM workspace_secrets"):
        scope, sealed = str(row["scope_id"]), str(row["sealed"])
        try:
            if is_in_drawer(sealed):
                vault.under(wrapped.get(scope, ""), scope).open(str(row["name"]), sealed)
            else:
                vault.open(sealed)
            yield None
        except ValueError as error:
            yield f"secret {row['name']} of scope {scope} does not open: {error}"


# ---- who may do what


def grants(site: Site) -> Iterator[str | None]:
    for row in site.tx.all(
        'SELECT g."right", g.principal, g.object_id, p.id AS who, o.id AS what FROM grants g'
        " LEFT JOIN principals p ON p.id = g.principal AND p.deleted_at IS NULL"
        " LEFT JOIN objects o ON o.id = g.object_id AND o.deleted_at IS NULL"
    ):
        missing = "principal" if row["who"] is None else "object" if row["what"] is None else ""
        yield f"{row['right']} of {row['principal']} on {row['object_id']}: no such {missing}" if missing else None


def members(site: Site) -> Iterator[str | None]:
    for row in site.tx.all(
        "SELECT m.group_id, m.member_id, g.kind, p.id FROM members m"
        " LEFT JOIN principals g ON g.id = m.group_id AND g.deleted_at IS NULL"
        " LEFT JOIN principals p ON p.id = m.member_id AND p.deleted_at IS NULL"
    ):
        whole = row["kind"] == "group" and row["id"] is not None
        yield None if whole else f"{row['member_id']} in {row['group_id']}: one of the two is not there"


def owners(site: Site) -> Iterator[str | None]:
    for row in site.tx.all(
        "SELECT o.kind, o.full_name, o.owner, p.id FROM objects o"
        " LEFT JOIN principals p ON p.id = o.owner AND p.deleted_at IS NULL WHERE o.deleted_at IS NULL"
    ):
        there = row["id"] is not None or row["owner"] == SYSTEM.id
        yield None if there else f"{row['kind']} {row['full_name']}: its owner {row['owner']} is not there"


def ancestry(site: Site) -> Iterator[str | None]:
    """An object's ancestors are itself and its parent's ancestors: exactly those, or inheritance goes wrong."""
    above: dict[str, dict[str, int]] = {}
    for row in site.tx.all("SELECT object_id, ancestor_id, depth FROM ancestry"):
        above.setdefault(str(row["object_id"]), {})[str(row["ancestor_id"])] = int(row["depth"])
    living = {
        str(r["id"]): r
        for r in site.tx.all("SELECT id, kind, full_name, parent_id FROM objects WHERE deleted_at IS NULL")
    }
    for id_, row in living.items():
        parent = row["parent_id"]
        if parent is not None and parent not in living:
            yield f"{row['kind']} {row['full_name']}: its parent is not there"
            continue
        wanted = {id_: 0, **{a: d + 1 for a, d in above.get(str(parent), {}).items()}} if parent else {id_: 0}
        yield (
            None if above.get(id_) == wanted else f"{row['kind']} {row['full_name']}: its ancestry is not its parent's"
        )


# ---- files


def tables(site: Site) -> Iterator[str | None]:
    """Each Delta log can be read, and each file it speaks of is there, at its size."""
    for name, spec in _specs(site, "table"):
        if spec.get("table_type") == "VIEW" or not spec.get("storage_location"):
            continue
        yield from _delta(name, places.local(str(spec["storage_location"])))


def _delta(name: str, folder: Path) -> Iterator[str | None]:
    try:
        listed = delta.open_at(folder).files
    except Fault as fault:
        yield f"table {name}: {fault} ({folder})"
        return
    yield None
    for each in listed:
        file = Path(each.path)
        there = file.stat().st_size if file.is_file() else None
        if there is None:
            yield f"table {name}: {each.logged} is missing"
        else:
            yield (
                None if there == each.size else f"table {name}: {each.logged} has {there} bytes instead of {each.size}"
            )


def models(site: Site) -> Iterator[str | None]:
    """The files of a sealed version are those that were judged; `deep` reads all of them to know."""
    for row in site.tx.all(
        "SELECT o.full_name, o.spec, v.version, v.id, v.digest FROM registry_versions v"
        " JOIN objects o ON o.id = v.model_id WHERE v.status = 'READY' AND v.deleted_at IS NULL"
    ):
        name = f"{row['full_name']} v{row['version']}"
        found = places.local(json.loads(row["spec"])["storage_location"]) / str(row["id"])
        if not found.is_dir() or not any(found.iterdir()):
            yield f"model {name}: its files are missing"
        elif site.deep and row["digest"] and files.digest(found) != row["digest"]:
            yield f"model {name}: its files are not those that were registered"
        else:
            yield None


def artifacts(site: Site) -> Iterator[str | None]:
    """Logged models say that they are finished, so their files are there."""
    home = site.settings.data_dir.resolve() / "mlflow"
    for row in site.tx.all("SELECT experiment_id, model_id, artifact_location FROM logged_models WHERE status = 2"):
        folder = home / str(row["experiment_id"])
        yield None if any(folder.rglob("MLmodel")) else f"logged model {row['model_id']}: no files below {folder}"


def _specs(site: Site, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in site.tx.all("SELECT full_name, spec FROM objects WHERE kind = ? AND deleted_at IS NULL", kind):
        yield str(row["full_name"]), json.loads(row["spec"])


CHECKS: dict[str, Check] = {
    "the database's pages and references": database,
    "the schema is this version's": schema,
    "the audit trail is whole and signed by us": trail,
    "secrets open": secrets,
    "grants refer to who and what there is": grants,
    "memberships refer to who there is": members,
    "owners are there": owners,
    "each object's ancestors are its parent's": ancestry,
    "tables: logs and files are there": tables,
    "model versions: files are there": models,
    "logged models: files are there": artifacts,
}


def trouble(settings: Settings, *, deep: bool = False) -> list[str]:
    """All that is wrong, as sentences; what cannot even be looked at too."""
    try:
        return [f"{each.what}: {wrong}" for each in check(settings, deep=deep) for wrong in each.wrong]
    except Fault as fault:
        return [str(fault)]
