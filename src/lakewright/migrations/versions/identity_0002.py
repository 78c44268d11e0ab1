"""What SCIM filters look up: the texts of each principal, by attribute."""

import json
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "identity_0002"
down_revision = "identity_0001"
branch_labels = None
depends_on = None

# Compared and sorted by their bytes, the same on both engines.
Exact = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    table = op.create_table(
        "scim_values",
        sa.Column("principal_id", sa.Text, sa.ForeignKey("principals.id"), primary_key=True),
        sa.Column("path", Exact, primary_key=True),
        sa.Column("entry", sa.Integer, primary_key=True),
        sa.Column("head", Exact, nullable=False),
        sa.Column("text", Exact, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("scim_values_by_text", "scim_values", ["path", "text"])
    db = op.get_bind()
    names = {"user": "username", "servicePrincipal": "applicationid", "group": "displayname"}
    living = db.execute(
        sa.text(
            "SELECT p.id, o.kind, p.name, p.display_name, COALESCE(o.spec, '{}') AS spec FROM principals p"
            " JOIN objects o ON o.id = p.id WHERE p.deleted_at IS NULL AND o.deleted_at IS NULL"
        )
    ).mappings()
    rows = []
    for each in living.all():
        spec = json.loads(each["spec"])
        found = {names[each["kind"]]: each["name"]}
        found.setdefault("displayname", each["display_name"])
        for path, field in (("name.givenname", "given_name"), ("name.familyname", "family_name")):
            found[path] = spec.get(field)
        for path, text in found.items():
            if text:
                folded = text if path == "applicationid" else _folded(text)
                rows.append({
                    "principal_id": each["id"], "path": path, "entry": 0, "head": path.split(".")[0], "text": folded,
                })  # fmt: skip
        if spec.get("external_id"):
            rows.append({
                "principal_id": each["id"], "path": "externalid", "entry": 0, "head": "externalid",
                "text": spec["external_id"],
            })  # fmt: skip
    if rows:
        op.bulk_insert(table, rows)


def downgrade() -> None:
    op.drop_table("scim_values")


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
