"""Filters and orders in SQL mean what scim2-models says they mean: an oracle that evaluates them in memory."""

import json
import random

import pytest
from scim2_models import Context, SearchRequest

from lakewright.identity import groups, people, service_principals
from lakewright.identity.scim_schemas import MODELS, Group, Person, ServicePrincipal
from lakewright.kernel.faults import Fault

CRAFT = [
    "Ärztin",
    "engineer",
    "ENGINEER",
    "100%_sure",
    "o'brien",
    'say "hi"',
    "",
    "back\\slash",
    "x; DROP TABLE objects;--",
]
FILTERS = [
    'userName eq "U3@Example.COM"', 'userName ne "u3@example.com"', 'userName sw "U1"', 'userName ew ".com"',
    'title co "GINE"', 'title eq "ärztin"', 'title co "%_"', 'title eq "o\'brien"', 'title co "\\"hi\\""', "title pr",
    "not (title pr)", 'title gt "f"', 'title le "engineer"', 'not (title eq "engineer")', 'externalId eq "E2"',
    'externalId eq "e2"', "active eq true", "active ne true", 'name.familyName co "s" and active eq false',
    'emails co "example.org"', 'emails.value ew "org"', 'emails[type eq "work" and value co "example.org"]',
    'emails[type eq "home"]', 'emails[not (type eq "work")]', "emails pr", "emails.display pr", 'emails.type ne "work"',
    'emails[primary eq true].value co "example"', 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "Risk"',
    'urn:ietf:params:scim:schemas:core:2.0:User:userName eq "u1@example.com"', 'groups.display eq "odd"', "groups pr",
    'groups[display eq "odd" and type eq "direct"]', 'groups[type eq "indirect"]', 'not (groups.display eq "odd")',
    'meta.created ge "2020-01-01T00:00:00Z"', 'meta.lastModified lt "2020-01-01T00:00:00Z"', 'meta.resourceType eq "User"',
    'id pr and (title pr or userName sw "u2")', 'displayName eq null', 'title eq null', "title ne null", 'meta.version pr',
    'addresses[country eq "DE" or country eq "FR"]', 'phoneNumbers.value sw "+49"', 'title co ""', 'USERNAME EQ "u4@example.com"',
]  # fmt: skip


@pytest.fixture
def directory(platform, request):
    """Thirty people of all sorts, two groups, one inside the other."""
    admin = platform.snapshot(lambda ctx: ctx.id_of("admin"))
    dice, made = random.Random(7), []
    for n in range(30):
        given = {"userName": f"u{n}@example.com", "externalId": dice.choice(["E1", "E2", "e2"]), "active": n % 4 != 0}
        if n % 3:
            given["title"] = dice.choice(CRAFT[:6] + CRAFT[7:])
        if n % 2:
            given["name"] = {"familyName": dice.choice(["Smith", "Jones", "Óskarsdóttir"]), "givenName": f"G{n}"}
            given["emails"] = [
                {"value": f"a{n}@example.org", "type": "work"}, {"value": f"b{n}@example.net", "type": "home", "primary": True},
            ]  # fmt: skip
        if n % 5 == 0:
            given[people.ENTERPRISE] = {"department": dice.choice(["Risk", "Fraud"])}
            given["addresses"] = [{"country": dice.choice(["DE", "US"]), "type": "work"}]
            given["phoneNumbers"] = [{"value": "+49 30 1234", "type": "work"}]
        made.append(platform.call(admin, people.create, **given).body["id"])
    odd = platform.call(admin, groups.create, displayName="odd", members=[{"value": m} for m in made[1::2]]).body
    platform.call(admin, groups.create, displayName="all", members=[{"value": odd["id"]}, {"value": made[0]}])
    platform.call(admin, service_principals.create, displayName="odd machine")
    return platform, admin


def listed(world, **ask):
    platform, admin = world
    return platform.call(admin, people.list_, **ask).body


def resources(world):
    return [Person.model_validate(each, scim_ctx=Context.DEFAULT) for each in listed(world)["Resources"]]


def agree(world, filter, known):
    request = SearchRequest[Person](filter=filter)
    expected = {each.id for each in known if request.filter.match(each)}
    answered = listed(world, filter=filter)
    assert {each["id"] for each in answered["Resources"]} == expected, filter
    assert answered["totalResults"] == len(expected), filter


def test_every_operator_on_every_sort_of_attribute_agrees_with_the_library(directory):
    known = resources(directory)
    for filter in FILTERS:
        agree(directory, filter, known)


def test_random_combinations_agree_with_the_library(directory):
    dice, known = random.Random(11), resources(directory)

    def some(depth):
        if depth == 0 or dice.random() < 0.3:
            return dice.choice(FILTERS)
        kind = dice.choice(["and", "or", "not"])
        if kind == "not":
            return f"not ({some(depth - 1)})"
        return f"({some(depth - 1)} {kind} {some(depth - 1)})"

    for _ in range(150):
        agree(directory, some(3), known)


ORDERS = ["userName", "title", "emails", "name.familyName", "meta.created", "active", "externalId"]


def test_every_order_agrees_with_the_library(directory):
    known = resources(directory)
    for by in ORDERS:
        for order in ("ascending", "descending"):
            request = SearchRequest[Person](sort_by=by, sort_order=order)
            answered = [each["id"] for each in listed(directory, sortBy=by, sortOrder=order)["Resources"]]
            key = {each.id: request.sort_value(each) for each in known}
            assert [key[i] for i in answered] == [key[each.id] for each in request.sort(known)], (by, order)


def test_pages_of_an_order_are_its_pieces(directory):
    whole = [each["id"] for each in listed(directory, sortBy="title")["Resources"]]
    pieces = [listed(directory, sortBy="title", startIndex=start, count=7) for start in range(1, len(whole) + 1, 7)]
    assert [each["id"] for piece in pieces for each in piece["Resources"]] == whole
    assert {piece["totalResults"] for piece in pieces} == {len(whole)}


def test_groups_are_found_by_their_members(directory):
    platform, admin = directory
    member = platform.snapshot(lambda ctx: ctx.id_of("u1@example.com"))
    for filter, names in (
        (f'members.value eq "{member}"', ["odd", "users"]), (f'members eq "{member}"', ["odd", "users"]),
        ('members[type eq "Group"]', ["all"]), ('members[type eq "ServicePrincipal"]', ["users"]),
        ('members.display eq "ODD"', ["all"]), ('displayName eq "ODD"', ["odd"]), ("not (members pr)", []),
        ('displayName sw "a" and not (displayName eq "all")', ["admins"]),
    ):  # fmt: skip
        found = platform.call(admin, groups.list_, filter=filter).body
        assert [each["displayName"] for each in found["Resources"]] == names, filter


NOT_FILTERS = [
        "userName", 'userName eq "x', "userName eq", 'nothing eq "x"', 'userName like "x"', 'active gt true',
        'emails[emails[type eq "x"]]', '"; DROP TABLE objects; --', 'userName eq "a" or', "(" * 40 + "title pr" + ")" * 39,
        'userName[value eq "x"]', 'meta.created gt "yesterday"', "title pr " * 2, 'password eq "x"', "password pr",
        " or ".join(['title eq "x"'] * 101), " or ".join(['userName eq "x"'] * 10_000), "not (" * 40 + "title pr" + ")" * 40,
]  # fmt: skip


def test_a_filter_that_is_not_one_is_refused_as_such(platform):
    admin = platform.snapshot(lambda ctx: ctx.id_of("admin"))
    for filter in NOT_FILTERS:
        with pytest.raises(Fault) as refused:
            platform.call(admin, people.list_, filter=filter)
        assert (refused.value.status, refused.value.details.get("scimType")) == (400, "invalidFilter"), filter


def test_what_a_client_writes_is_never_part_of_a_statement(directory):
    """Each hostile text as an operand finds exactly the people who have it, and nothing is broken after."""
    platform, admin = directory
    for n, text in enumerate(["' OR 1=1 --", "%", "_", "\\", "?", "{}", "%s", "${x}", "'; DELETE FROM principals; --"]):
        platform.call(admin, people.create, userName=f"h{n}@example.com", nickName=text)
        for operator in ("eq", "co", "sw", "ew"):
            found = listed(directory, filter=f"nickName {operator} {json.dumps(text)}")["Resources"]
            assert f"h{n}@example.com" in {each["userName"] for each in found}
            assert len(found) <= 4, (operator, text)
    assert listed(directory)["totalResults"] == 40


def test_every_published_attribute_can_be_filtered_by(platform):
    from scim2_models import Path

    admin = platform.snapshot(lambda ctx: ctx.id_of("admin"))
    operations = {Person: people.list_, Group: groups.list_, ServicePrincipal: service_principals.list_}
    assert set(operations) == set(MODELS.values())
    for model, operation in operations.items():
        for path in Path[model].iter_paths():
            if str(path) not in ("schemas",) and not path.model:
                platform.call(admin, operation, filter=f"{path} pr")


def test_the_fold_of_plain_functions_is_the_librarys():
    from scim2_models import Path

    from lakewright.identity.principals import fold

    binding = Path[Person]("title").resolve()
    for text in ("ABC", "Ärztin", "A\u0308rztin", "İstanbul", "ΑΣ", "ﬁ", "ẞ"):
        assert fold(text) == binding.comparable(text)
