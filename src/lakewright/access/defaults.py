"""What anybody holds before anything is granted: the whole list, in one place.

Whatever a fresh principal could reach and is not named here is a mistake: tests/access/test_defaults.py makes a fresh
user and compares everything they hold with this list.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lakewright.kernel.config import Settings
from lakewright.kernel.context import Ctx
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OPERATIONS, SNAPSHOT, Api, Nothing, Reply
from lakewright.kernel.roots import BY_DEFAULT, IN_WORKSPACE, Root
from lakewright.kernel.rules import EVERYONE, PUBLIC

api = Api("access", "/api/2.0/lakewright/access")


@dataclass(frozen=True)
class Default:
    """`who` holds `right` on `on` from the start. A `setting` changes that; an ordinary grant or revoke does too."""

    who: str
    right: str
    on: str
    why: str
    setting: str = ""
    value: Callable[[Settings], str] = lambda settings: ""

    def holds(self, settings: Settings) -> str:
        """The right as this installation has it; empty: nothing."""
        return self.value(settings) if self.setting else self.right


DEFAULTS = (
    Default("admins", "OWNER", "the account, its metastore, its workspaces", "somebody must be able to grant"),
    Default("whoever makes an object", "OWNER", "that object", "it would be nobody's; ownership can be handed over"),
    Default(
        "each user and service principal", "OWNER", "/Users/<name>", "a place of their own, seen by nobody else",
        "LAKEWRIGHT_ACCESS__HOME_FOLDERS", lambda settings: "OWNER" if settings.access.home_folders else "",
    ),
    Default("users", "CAN_USE", "authorization:/tokens", "one's own personal tokens: a way to sign in, not a right"),
    Default(
        "users", " and ".join(BY_DEFAULT), "each workspace",
        "those who may enter use it, unless an administrator takes it from the group; objects need rights of their own",
    ),
    Default(
        "users", "", "/Shared", "nothing unless it is set before the first start",
        "LAKEWRIGHT_ACCESS__SHARED_FOLDER", lambda settings: settings.access.shared_folder,
    ),
)  # fmt: skip


@api("GET", "/defaults", audit="getDefaults", on=IN_WORKSPACE, needs=EVERYONE, runs=SNAPSHOT)
def show(ctx: Ctx, workspace: Obj[Root], ask: Nothing) -> Reply:
    """Open to all: it says what everybody holds from the start, the same to everybody, and names no object."""
    return {
        "defaults": [
            {"who": d.who, "right": d.holds(ctx.settings), "on": d.on, "why": d.why, "setting": d.setting}
            for d in DEFAULTS
        ],
        "open_operations": [
            {"operation": o.name, "for": "anybody" if o.needs is PUBLIC else "every signed-in caller", "why": o.doc}
            for o in sorted(OPERATIONS, key=lambda o: o.name)
            if o.needs in (EVERYONE, PUBLIC)
        ],
    }  # fmt: skip
