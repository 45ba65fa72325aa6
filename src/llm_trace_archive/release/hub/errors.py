"""What the Hub's client raises: what may pass by itself, and what the rest tells a user."""

from __future__ import annotations

import json
import re

from ...core.errors import BadUse, Problem

AGAIN = (408, 409, 412, 425, 429, 500, 502, 503, 504)  # 409: another commit runs; 412: the parent is no longer the head
NEXT = "run the same command again: it goes on where this one stopped"


class Conflict(Problem):
    """The Hub answered 409: what is to be made is there already."""


def cause(error: BaseException | None) -> BaseException | None:
    """The client wraps what went wrong with one file."""
    while type(error) is RuntimeError and error.__cause__ is not None:
        error = error.__cause__
    return error


def status(error: BaseException | None) -> int:
    return int(getattr(getattr(cause(error), "response", None), "status_code", 0))


def passes(error: BaseException) -> bool:
    """Whether an error may pass by itself: of the network, of the server, or an answer that a proxy gave."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    why = cause(error)
    if isinstance(why, HfHubHTTPError):
        # While a file is sent even a refusal may pass: its signed URL has expired, or its parts were joined already.
        return why is not error or status(why) in AGAIN
    return isinstance(why, (HTTPError, json.JSONDecodeError)) or type(why) is ConnectionError  # the last is hf_xet's


def retry_after(error: BaseException | None) -> float:
    """Seconds that the server asks to wait, or 0: by Retry-After, or by `RateLimit: "api";r=0;t=55` as the Hub does."""
    headers = getattr(getattr(cause(error), "response", None), "headers", {})
    limit = re.search(r"r\s*=\s*0\s*;\s*t\s*=\s*(\d+)", str(headers.get("RateLimit", "")))
    asked = limit[1] if limit else str(headers.get("Retry-After", ""))
    return float(asked) if asked.isdigit() else 0


def forbidden(repo: str, reason: str) -> BadUse:
    """The token may not write."""
    return BadUse(
        repo,
        "the token may not write there",
        reason=reason,
        next=f"hf auth login, or HF_TOKEN: a token that may write, of a member of {repo.partition('/')[0]}",
    )


def problem(error: Exception, repo: str, endpoint: str) -> Problem:
    """What to tell of an error. The client's own text is mostly left out: it may hold signed URLs."""
    from huggingface_hub import errors

    why, code = cause(error), status(error)
    host = endpoint.partition("://")[2]
    said = (getattr(why, "server_message", None) or "")[:300]
    match why:
        case errors.LocalTokenNotFoundError():
            expected = "HF_TOKEN in the environment, or the store of hf auth login"
            return BadUse(host, "no token", expected=expected, next="hf auth login")
        case errors.HFValidationError():
            return BadUse(repo, "not the name of a repo", expected="<user or organisation>/<name>")
        case errors.OfflineModeIsEnabled():
            return BadUse(host, "not asked: HF_HUB_OFFLINE is set", next="unset HF_HUB_OFFLINE")
        case errors.HfHubHTTPError():
            return _refusal(host, repo, code, said, isinstance(why, errors.RepositoryNotFoundError))
        case errors.HTTPError() | ConnectionError():  # type: ignore[attr-defined]
            return BadUse(host, "can't be reached", reason=type(why).__name__, next=NEXT)
        case OSError(filename=str(name)):
            return BadUse(name, why.strerror or type(why).__name__, next=NEXT)
        case ValueError() if str(why).startswith("Invalid metadata in README.md"):
            return Problem("README.md", "the Hub refuses what the card says at its top", reason=str(why)[:500])
        case _:
            text = re.sub(r"\?\S+", "", f"{type(why).__name__}: {why}")[:500]  # the query of a URL may be its signature
            return Problem(repo, "the Hub's client failed", reason=text)


def _refusal(host: str, repo: str, code: int, said: str, is_absent: bool) -> Problem:
    if code == 401 and not is_absent:
        return BadUse(host, "refuses the token", reason=said, next="hf auth login, or another HF_TOKEN")
    if code == 403:
        return forbidden(repo, said)
    if code in (401, 404):
        return BadUse(repo, "no such dataset repo or revision, or the token may not see it", reason=said)
    if code == 409:
        return Conflict(repo, "the Hub tells of a conflict", reason=said, next=NEXT)
    return Problem(host, f"answers {code}", reason=said, next=NEXT if code in AGAIN else "")
