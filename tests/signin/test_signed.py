"""Tokens signed by others: every invalid one of the public vectors is refused, at both doors, and so are ours."""

import base64
import hmac
import json
from pathlib import Path

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from lakewright.identity import federation, provider, signed
from lakewright.identity.signed import Expected, Untrusted

NOW = 1_760_000_000
EXPECTED = Expected("https://issuer.example", frozenset({"us"}))
VECTORS = Path(__file__).parent / "wycheproof"
PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth")


def vectors(result):
    found = []
    for file in sorted(VECTORS.glob("json_web_*.json")):
        for group in json.loads(file.read_text())["testGroups"]:
            key = group.get("public") or group.get("private")
            keys = key.get("keys", [key])
            public = [{k: v for k, v in each.items() if k not in PRIVATE} for each in keys]
            found += [
                (public, test["jws"], test) for test in group["tests"] if test["result"] == result and "jws" in test
            ]
    return found


def text(vector):
    return vector if isinstance(vector, str) else json.dumps(vector)


def test_a14_all_invalid_signatures_of_wycheproof_are_refused():
    invalid = vectors("invalid")
    assert len(invalid) >= 421, "355 of signatures, the others of key sets and mixed-up algorithms"
    believed = []
    for keys, token, test in invalid:
        try:
            signed._payload(text(token), signed.key_set({"keys": keys}))
            believed.append((test["tcId"], test["comment"]))
        except Untrusted:
            pass
    assert believed == []


def test_of_the_valid_ones_those_with_public_keys_are_accepted_and_no_symmetric_one():
    """Otherwise the test above could be passed by refusing everything."""
    accepted, symmetric = 0, 0
    for keys, token, _test in vectors("valid"):
        if any(key["kty"] == "oct" for key in keys):
            symmetric += 1
            with pytest.raises(Untrusted):
                signed._payload(text(token), signed.key_set({"keys": keys}))
            continue
        try:
            signed._payload(text(token), signed.key_set({"keys": keys}))
            accepted += 1
        except Untrusted:
            pass
    assert accepted >= 8
    assert symmetric >= 5


def test_a14_neither_door_lets_an_invalid_vector_in(platform):
    """As a workload's subject token, and as a provider's id token: with the vector's own keys as the trusted ones."""

    def policy(keys):
        return federation.OidcPolicy(
            issuer="accounts.example", subject="x", audiences=["us"], jwks_json=json.dumps(keys)
        )

    ctx = platform.system()
    for keys, token, _test in vectors("invalid"):
        with pytest.raises(Untrusted):
            federation._claims(ctx, text(token), policy({"keys": keys}))
        with pytest.raises(Untrusted):
            signed.claims(text(token), keys, EXPECTED, now=NOW * 1000)


# tokens of our own making


@pytest.fixture(scope="module")
def rsa():
    return RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})


def keys_of(*keys):
    return signed.key_set({"keys": [key.as_dict(private=False) for key in keys]})


def claims_of(**changes):
    whole = {"iss": "https://issuer.example", "aud": "us", "sub": "ada", "exp": NOW + 300, "iat": NOW, **changes}
    return {name: value for name, value in whole.items() if value is not None}


def made(key, header=None, **changes):
    return jwt.encode({"alg": "RS256", "kid": "one", **(header or {})}, claims_of(**changes), key)


def raw(key, payload, header=b'{"alg":"RS256","kid":"one"}'):
    """A token with exactly these bytes in it, properly signed."""
    from joserfc.jwa import JWSRegistry

    def encode(part):
        return base64.urlsafe_b64encode(part).rstrip(b"=")

    signing = encode(header) + b"." + encode(payload)
    signature = JWSRegistry.algorithms["RS256"].sign(signing, key)
    return (signing + b"." + encode(signature)).decode()


def refused(token, keys, because=""):
    with pytest.raises(Untrusted, match=because):
        signed.claims(token, keys, EXPECTED, now=NOW * 1000)


def test_a_good_token_of_each_kind_of_key_is_believed(rsa):
    for key, algorithm in (
        (rsa, "RS256"), (rsa, "PS384"), (ECKey.generate_key("P-256", {"kid": "one"}), "ES256"),
        (ECKey.generate_key("P-521", {"kid": "one"}), "ES512"), (OKPKey.generate_key("Ed25519", {"kid": "one"}), "Ed25519"),
    ):  # fmt: skip
        token = jwt.encode({"alg": algorithm, "kid": "one"}, claims_of(), key, algorithms=[algorithm])
        assert signed.claims(token, keys_of(key), EXPECTED, now=NOW * 1000)["sub"] == "ada"


def test_a06_a_token_that_says_it_is_not_signed_is_refused(rsa):
    header, payload, signature = made(rsa).split(".")
    for alg in ("none", "None", "NONE", "nOnE", "", None, 0, ["RS256"]):
        unsigned = base64.urlsafe_b64encode(json.dumps({"alg": alg, "kid": "one"}).encode()).rstrip(b"=").decode()
        for end in ("", signature, "x"):
            refused(f"{unsigned}.{payload}.{end}", keys_of(rsa))
    refused(f"{header}.{payload}.", keys_of(rsa))
    refused(f"{header}.{payload}", keys_of(rsa))


def test_a07_a_public_key_is_never_taken_for_a_shared_secret(rsa):
    pem, jwk = rsa.as_pem(private=False), json.dumps(rsa.as_dict(private=False)).encode()
    der = rsa.public_key.public_numbers().n.to_bytes(256, "big")
    for secret in (pem, pem.strip(), jwk, der):
        for algorithm, digest in (("HS256", "sha256"), ("HS512", "sha512")):
            head = json.dumps({"alg": algorithm, "kid": "one"}).encode()
            signing = b".".join(
                base64.urlsafe_b64encode(p).rstrip(b"=") for p in (head, json.dumps(claims_of()).encode())
            )
            mac = base64.urlsafe_b64encode(hmac.digest(secret, signing, digest)).rstrip(b"=")
            refused((signing + b"." + mac).decode(), keys_of(rsa), "algorithm is not accepted")
    with pytest.raises(Untrusted, match="symmetric"):
        signed.key_set({"keys": [OctKey.generate_key(256, {"kid": "s"}).as_dict()]})


def test_a08_a_key_id_is_only_ever_compared(rsa):
    for kid in (
        "../../../../dev/null",
        "x' OR '1'='1",
        "one\0",
        "/etc/passwd",
        "http://evil.example/",
        "ONE",
        "",
        " one",
    ):
        refused(made(rsa, {"kid": kid}), keys_of(rsa))
    for kid in (1, ["one"], {"a": 1}, None, True):
        refused(
            raw(rsa, json.dumps(claims_of()).encode(), json.dumps({"alg": "RS256", "kid": kid}).encode()), keys_of(rsa)
        )
    refused(made(rsa, {"kid": "k" * 300}), keys_of(rsa))


def test_a09_a_token_cannot_bring_its_key_or_point_to_one(rsa):
    own = RSAKey.generate_key(2048, {"kid": "one"})
    for extra in (
        {"jwk": own.as_dict(private=False)}, {"jku": "https://evil.example/jwks"}, {"x5u": "https://evil.example/x"},
        {"x5c": ["MIIB"]}, {"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}, {"zip": "DEF"}, {"cty": "JWT"}, {"enc": "A256GCM"},
    ):  # fmt: skip
        head = json.dumps({"alg": "RS256", "kid": "one", **extra}).encode()
        payload = json.dumps(claims_of()).encode()
        refused(raw(own, payload, head), keys_of(rsa), "header says more")
        refused(raw(rsa, payload, head), keys_of(rsa), "header says more")
    refused(made(own), keys_of(rsa), "signature is not good")


def test_a10_another_issuers_token_is_refused(rsa):
    for iss in (
        "https://issuer.example/",
        "http://issuer.example",
        "https://evil.example",
        "",
        None,
        1,
        ["https://issuer.example"],
    ):
        refused(made(rsa, iss=iss), keys_of(rsa))


def test_a11_a_token_for_somebody_else_is_refused(rsa):
    for aud in ("them", "", None, [], ["them"], 1, {"us": 1}, ["us", 1], "us ", "US"):
        refused(made(rsa, aud=aud), keys_of(rsa))
    token = made(rsa, aud=["them", "us"])
    assert signed.claims(token, keys_of(rsa), EXPECTED, now=NOW * 1000)
    with pytest.raises(Untrusted):
        signed.claims(made(rsa), keys_of(rsa), Expected("https://issuer.example", frozenset()), now=NOW * 1000)


def test_a11_an_id_token_is_no_access_token_and_ours_is_no_id_token(server, people, rsa):
    import httpx

    ada = people.person("ada@example.com")
    answer = httpx.get(
        f"{server.url}/api/2.0/preview/scim/v2/Me", headers={"authorization": f"Bearer {made(rsa, sub=ada.name)}"}
    )
    assert answer.status_code == 401
    refused(ada.token, keys_of(rsa))


def test_a12_a_token_without_a_proper_end_or_before_its_time_is_refused(rsa):
    for exp in (None, -1, "tomorrow", str(NOW + 300), NOW - 61, True, [NOW], {}, 0):
        refused(made(rsa, exp=exp), keys_of(rsa))
    for number in (b"1e999", b"Infinity", b"NaN", b"-0.5"):
        payload = json.dumps(claims_of(exp=None)).encode()[:-1] + b',"exp":' + number + b"}"
        refused(raw(rsa, payload), keys_of(rsa))
    for name in ("nbf", "iat"):
        for at in (NOW + 61, "soon", False, [1]):
            refused(made(rsa, **{name: at}), keys_of(rsa))
    assert signed.claims(made(rsa, exp=NOW - 59, nbf=NOW + 59), keys_of(rsa), EXPECTED, now=NOW * 1000)


def test_a13_what_is_said_twice_is_not_believed(rsa):
    twice = json.dumps(claims_of()).encode()[:-1] + b',"sub":"admin"}'
    refused(raw(rsa, twice), keys_of(rsa), "twice")
    nested = json.dumps(claims_of()).encode()[:-1] + b',"more":{"a":1,"a":2}}'
    refused(raw(rsa, nested), keys_of(rsa), "twice")
    head = b'{"alg":"RS256","kid":"one","alg":"RS256"}'
    refused(raw(rsa, json.dumps(claims_of()).encode(), head), keys_of(rsa), "twice")
    other = RSAKey.generate_key(2048, {"kid": "one"})
    with pytest.raises(Untrusted, match="same id"):
        keys_of(rsa, other)


def test_a15_large_deep_and_nested_tokens_are_refused(rsa):
    refused(made(rsa, filler="x" * signed.LARGEST), keys_of(rsa), "too large")
    deep = b"[" * 20 + b"]" * 20
    refused(raw(rsa, json.dumps(claims_of()).encode()[:-1] + b',"d":' + deep + b"}"), keys_of(rsa), "nested")
    wide = b"[" + b"[]," * 300 + b"[]]"
    refused(raw(rsa, json.dumps(claims_of()).encode()[:-1] + b',"d":' + wide + b"}"), keys_of(rsa), "nested")
    refused(raw(rsa, made(rsa).encode()), keys_of(rsa), "no JSON")
    refused(raw(rsa, b'"text"'), keys_of(rsa), "not an object")
    refused("a.b.c.d.e", keys_of(rsa))
    refused("." * 10_000, keys_of(rsa))


def test_a_token_means_one_thing_only(rsa):
    """The same token in other letters is another text: a deny list or a log would not recognise it."""
    token = made(rsa)
    for changed in (
        token + "=",
        token + " ",
        " " + token,
        token + "\n",
        token.replace(".", "..", 1),
        token + ".",
        "é" + token,
    ):
        refused(changed, keys_of(rsa))
    last = token[-1]
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        if other != last:
            refused(token[:-1] + other, keys_of(rsa))


def test_a_small_or_unfit_key_signs_nothing():
    for key, header in (
        (RSAKey.generate_key(1024, {"kid": "one"}, auto_kid=False), {"alg": "RS256"}),
        (RSAKey.generate_key(2048, {"kid": "one", "use": "enc"}), {"alg": "RS256"}),
        (RSAKey.generate_key(2048, {"kid": "one", "alg": "PS256"}), {"alg": "RS256"}),
    ):
        public = {**key.as_dict(private=False)}
        plain = RSAKey.import_key(
            {k: v for k, v in key.as_dict(private=True).items() if k not in ("use", "alg", "key_ops")}
        )
        token = jws.serialize_compact({**header, "kid": "one"}, json.dumps(claims_of()), plain)
        refused(token, signed.key_set({"keys": [public]}))


def test_without_a_key_id_only_a_single_fitting_key_is_tried(rsa):
    token = jwt.encode({"alg": "RS256"}, claims_of(), rsa)
    assert signed.claims(token, keys_of(rsa), EXPECTED, now=NOW * 1000)
    refused(token, keys_of(rsa, RSAKey.generate_key(2048, {"kid": "two"})), "more than one")


def test_a17_an_id_token_answers_one_sign_in_of_one_client():
    good = {"sub": "1", "iat": NOW, "nonce": "n", "aud": "us"}
    provider.check(good, "n", "us")
    for changes in (
        {"nonce": "m"}, {"nonce": None}, {"nonce": 1}, {"sub": ""}, {"sub": 1}, {"sub": "x" * 256}, {"iat": None},
        {"aud": ["us", "them"]}, {"azp": "them"}, {"aud": ["us", "them"], "azp": "them"},
    ):  # fmt: skip
        claims = {k: v for k, v in {**good, **changes}.items() if v is not None}
        with pytest.raises(Untrusted):
            provider.check(claims, "n", "us")
