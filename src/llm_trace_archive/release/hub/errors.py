"""Errors of the Hub's client: which may pass by themselves, and how to explain the others."""

from __future__ import annotations

import json
import re

from ...core.errors import BadUse, Problem
from ...core.text import mask
from ..record import NEXT

AGAIN = (408, 409, 412, 425, 429, 500, 502, 503, 504)  # 409: another commit runs; 412: the parent is no longer the head


class Conflict(Problem):
    """The Hub answered 409: what the client wants to create exists."""


def find_cause(error: BaseException | None) -> BaseException | None:
    """Return the cause if the client wraps an error about one file, else the error."""
    while type(error) is RuntimeError and error.__cause__ is not None:
        error = error.__cause__
    return error


def find_status(error: BaseException | None) -> int:
    """Return the HTTP status of an error, or 0."""
    return int(getattr(getattr(find_cause(error), "response", None), "status_code", 0))


def may_pass(error: BaseException) -> bool:
    """Return whether an error may pass by itself: one of the network or the server, or an answer of a proxy."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    cause = find_cause(error)
    if isinstance(cause, HfHubHTTPError):
        # During an upload even a refusal may pass: a signed URL has expired, or the parts are already assembled.
        return cause is not error or find_status(cause) in AGAIN
    return isinstance(cause, (HTTPError, json.JSONDecodeError)) or type(cause) is ConnectionError  # of hf_xet


def find_retry_after(error: BaseException | None) -> float:
    """Return the seconds that the server asks to wait, or 0.

    The Hub sends Retry-After, or a header such as `RateLimit: "api";r=0;t=55`.
    """
    headers = getattr(getattr(find_cause(error), "response", None), "headers", {})
    limit = re.search(r"r\s*=\s*0\s*;\s*t\s*=\s*(\d+)", str(headers.get("RateLimit", "")))
    seconds = limit[1] if limit else str(headers.get("Retry-After", ""))
    return float(seconds) if seconds.isdigit() else 0


def explain_forbidden(repo: str, reason: str) -> BadUse:
    """Return the problem of a token that can't write to a repo."""
    return BadUse(
        repo,
        "the token can't write to this repo",
        reason=reason,
        next=f"hf auth login, or set HF_TOKEN, with a write token of a member of {repo.partition('/')[0]}",
    )


def hide_token(text: str) -> str:
    """Return a text of the Hub or its client without the token, which either may repeat."""
    from huggingface_hub import get_token

    return mask(text, get_token() or "")


def explain(error: Exception, repo: str, endpoint: str) -> Problem:
    """Return the problem to report for an error. Leaves out most of the client's text, which may hold signed URLs."""
    from huggingface_hub import errors

    cause, code = find_cause(error), find_status(error)
    host = endpoint.partition("://")[2]
    said = hide_token(str(getattr(cause, "server_message", None) or ""))[:300]
    match cause:
        case errors.LocalTokenNotFoundError():
            expected = "HF_TOKEN in the environment, or a login by hf auth login"
            return BadUse(host, "no token is set", expected=expected, next="hf auth login")
        case errors.HFValidationError():
            return BadUse(repo, "is not a valid repo name", expected="OWNER/NAME")
        case errors.OfflineModeIsEnabled():
            return BadUse("HF_HUB_OFFLINE", "is set, so the Hub can't be reached", next="unset HF_HUB_OFFLINE")
        case errors.HfHubHTTPError():
            return _explain_refusal(host, repo, code, said, isinstance(cause, errors.RepositoryNotFoundError))
        case errors.HTTPError() | ConnectionError():  # type: ignore[attr-defined]
            return BadUse(host, "the server can't be reached", reason=type(cause).__name__, next=NEXT)
        case OSError(filename=str(name)):
            return BadUse(name, cause.strerror or type(cause).__name__, next=NEXT)
        case ValueError() if str(cause).startswith("Invalid metadata in README.md"):
            return Problem("README.md", "the Hub rejects the card's metadata", reason=hide_token(str(cause))[:500])
        case _:
            # The query of a URL may be its signature.
            text = re.sub(r"\?\S+", "", hide_token(f"{type(cause).__name__}: {cause}"))[:500]
            return Problem(repo, "the Hub's client failed", reason=text)


def _explain_refusal(host: str, repo: str, code: int, said: str, is_absent: bool) -> Problem:
    if code == 401 and not is_absent:
        return BadUse(host, "the server rejects the token", reason=said, next="hf auth login, or another HF_TOKEN")
    if code == 403:
        return explain_forbidden(repo, said)
    if code in (401, 404):
        return BadUse(repo, "the repo or revision does not exist, or the token can't read it", reason=said)
    if code == 409:
        return Conflict(repo, "the Hub reports a conflict", reason=said, next=NEXT)
    return Problem(host, f"the server answered {code}", reason=said, next=NEXT if code in AGAIN else "")
