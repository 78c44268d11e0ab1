"""The pages in front of the console: plain HTML that needs nothing but a browser, not even a script."""

import html
from typing import Any
from urllib.parse import quote

PREFIX = "/console"


def sign_in(after: str, refusal: str = "", provider: str = "") -> str:
    """`provider` is what the organisation's sign-in is called; empty when there is none."""
    said = f'<p role="alert">{html.escape(refusal)}</p>' if refusal else ""
    target = quote(after, safe="")
    with_provider = (
        f'<form method="post" action="{PREFIX}/provider?next={target}">'
        f"<button>Sign in with {html.escape(provider)}</button></form><hr>"
        if provider
        else ""
    )
    return _page(
        "sign in",
        f"""<h1>Lakewright</h1>{said}{with_provider}<p>Sign in with a personal token.</p>
<form method="post" action="{PREFIX}/login?next={target}">
<label for="token">Token</label><input id="token" name="token" type="password" autocomplete="off" required autofocus>
<button>Sign in</button></form>""",
    )


def consent(asked: dict[str, Any], query: str) -> str:
    """What an application wants of the person, and the two answers."""
    scopes = "everything you may do" if asked["scopes"] == "all-apis" else f"only: {asked['scopes']}"
    lasting = "<p>It stays signed in when you are away, until you or an administrator end that.</p>"
    return _page(
        "sign in to an application",
        f"""<h1>{html.escape(asked["name"])}</h1><p>wants to act for you here: <strong>{html.escape(scopes)}</strong>.</p>
{lasting if asked["offline"] else ""}<p>Agree only if you have just started it yourself.</p>
<form method="post" action="{PREFIX}/authorize?{html.escape(query)}">
<button name="answer" value="agree">Agree</button>
<button name="answer" value="refuse" class="second">Refuse</button></form>""",
    )


def onwards(target: str) -> str:
    """Signed in; on to where the person wanted to go."""
    address = html.escape(target)
    return _page(
        "signed in",
        f'<h1>Lakewright</h1><p>You are signed in. <a href="{address}">Continue</a></p>',
        f'<meta http-equiv="refresh" content="0;url={address}">',
    )


def refusal(said: str) -> str:
    return _page("not possible", f'<h1>Lakewright</h1><p role="alert">{html.escape(said)}</p>')


def _page(title: str, body: str, head: str = "") -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Lakewright · {title}</title>
<link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">{head}
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; background: #f4f6f8; color: #17242f; display: grid; place-items: center;
  min-height: 100vh; margin: 0 }}
main {{ background: #fff; padding: 2rem 2.25rem; border-radius: 10px; box-shadow: 0 1px 8px #0002; width: 22rem }}
h1 {{ font-size: 1.35rem; margin: 0 0 .25rem }} p {{ margin: 0 0 1rem; color: #4b5d6b }}
[role=alert] {{ color: #a32015 }} label {{ font-weight: 600 }} hr {{ border: 0; border-top: 1px solid #d5dde3; margin: 1.25rem 0 }}
input {{ width: 100%; box-sizing: border-box; padding: .55rem; font: inherit; margin: .3rem 0 1rem;
  border: 1px solid #9aa9b5; border-radius: 6px }}
button {{ width: 100%; padding: .6rem; font: inherit; font-weight: 600; color: #fff; background: #0b6b78; border: 0;
  border-radius: 6px; cursor: pointer; margin-bottom: .5rem }}
.second {{ color: #0b6b78; background: #fff; border: 1px solid #0b6b78 }}
</style></head><body><main>{body}</main></body></html>"""
