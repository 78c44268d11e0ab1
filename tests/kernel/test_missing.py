"""What does not exist looks to a stranger exactly like what they may not see."""

import httpx
import pytest


@pytest.fixture
def ask(server, people):
    def get(who, user_id):
        path = f"{server.url}/api/2.0/preview/scim/v2/Users/{user_id}"
        return httpx.get(path, headers={"authorization": f"Bearer {who.token}"})

    return get


def test_a_stranger_cannot_tell_missing_from_hidden(people, ask):
    bob, eve = people.person("bob"), people.person("eve")
    hidden, missing = ask(eve, bob.id), ask(eve, "123456789012345")
    assert hidden.status_code == missing.status_code == 403
    assert hidden.text.replace(bob.id, "X") == missing.text.replace("123456789012345", "X")


def test_who_could_see_it_is_told_that_it_is_gone(people, ask):
    bob = people.person("bob")
    assert ask(people.admin, bob.id).status_code == 200
    people.admin.client.users.delete(bob.id)
    assert ask(people.admin, bob.id).status_code == 404
    assert ask(people.admin, "123456789012345").status_code == 404
