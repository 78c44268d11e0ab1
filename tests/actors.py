"""Who takes part in the tests: people, groups and service principals with tokens, and the server they talk to."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakewright.kernel.platform import Platform

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

ADMIN_TOKEN = "lwa_the-administrators-token-in-tests"


@dataclass
class Served:
    url: str
    platform: Platform


@dataclass
class Person:
    """Somebody with a token. `client` is the unmodified SDK, over the socket."""

    id: str
    name: str
    token: str
    url: str

    @property
    def client(self) -> "WorkspaceClient":
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.config import Config

        return WorkspaceClient(config=Config(host=self.url, token=self.token, auth_type="pat", retry_timeout_seconds=5))

    def do(self, verb: str, path: str, **body: Any) -> Any:
        """A call by path, for what the SDK has no method for."""
        where = {"query": body} if verb in ("GET", "DELETE") else {"body": body}
        return self.client.api_client.do(verb, path, **where)


@dataclass
class People:
    platform: Platform
    url: str
    _made: dict[str, Person] = field(default_factory=dict)

    @property
    def admin(self) -> Person:
        found = self.platform.snapshot(lambda ctx: ctx.id_of("admin"))
        return Person(found, "admin", ADMIN_TOKEN, self.url)

    def person(self, name: str, groups: tuple[str, ...] | list[str] = ()) -> Person:
        """A user of that name (made once), in these groups (made when missing)."""
        if name not in self._made:
            from lakewright.identity import people

            shown = self.platform.call(self.admin.id, people.create, userName=name).body
            self._made[name] = self._with_token(shown["id"], name)
        for group in groups:
            self.join(group, self._made[name])
        return self._made[name]

    def service_principal(self, name: str) -> Person:
        if name not in self._made:
            from lakewright.identity import service_principals

            shown = self.platform.call(self.admin.id, service_principals.create, displayName=name).body
            self._made[name] = self._with_token(shown["id"], shown["applicationId"])
        return self._made[name]

    def group(self, name: str) -> str:
        """The group's id."""
        from lakewright.identity import groups
        from lakewright.kernel.faults import AlreadyExists

        try:
            return str(self.platform.call(self.admin.id, groups.create, displayName=name).body["id"])
        except AlreadyExists:
            return self.platform.snapshot(lambda ctx: ctx.id_of(name))

    def join(self, group: str, person: Person) -> None:
        from lakewright.identity import principals

        group_id = self.group(group)
        self.platform.transact(lambda ctx: principals.add_member(ctx, group_id, person.id))

    def again(self, person: Person) -> Person:
        """The same person with a new token, when the clock has gone past the life of the first."""
        return self._with_token(person.id, person.name)

    def _with_token(self, principal_id: str, name: str) -> Person:
        from lakewright.identity import tokens

        made = self.platform.call(principal_id, tokens.create, comment="test")
        return Person(principal_id, name, made["token_value"], self.url)
