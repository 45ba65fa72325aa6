"""Files of the Hugging Face Hub, fetched by its own client, which keeps them in its own cache and knows the token."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from .http import AGENT, Failure, unreachable_hosts

FORM = "hf://datasets|models/<owner>/<name>@<revision>/<path>"


def fetch(url: str, offline: bool) -> Path:
    """Return the path of a file in the Hub's own cache, fetched if need be. Raises Failure.

    url  of the form FORM
    """
    import huggingface_hub
    from huggingface_hub import constants, errors

    match = re.fullmatch(r"hf://(dataset|model)s/([^/@]+/[^/@]+)@([^/]+)/(.+)", url)
    if match is None:
        raise Failure(f"not of the form {FORM}")
    kind, repo, revision, name = match.groups()
    page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo}"
    access = f"accept the licence at {page}, then hf auth login (or set HF_TOKEN), and try again with internet"
    only_local = offline or not _is_reachable(constants.ENDPOINT)
    try:
        path = huggingface_hub.hf_hub_download(
            repo, name, repo_type=kind, revision=revision, local_files_only=only_local, user_agent=AGENT
        )
    except (errors.GatedRepoError, errors.LocalTokenNotFoundError):
        raise Failure("the Hub gates this file, and no token gives access", access) from None
    except errors.RepositoryNotFoundError:
        raise Failure("the Hub shows no such repository without a token that gives access", access) from None
    except errors.LocalEntryNotFoundError:
        if not only_local:
            unreachable_hosts[urlsplit(constants.ENDPOINT).netloc] = "no answer"
        why = "not tried: offline" if offline else "the Hub is unreachable"
        raise Failure(f"{why}, and the Hub's own cache does not have it", access) from None
    except (OSError, ValueError) as error:
        raise Failure(f"the Hub refused it ({type(error).__name__})", access) from None
    return Path(path)


def _is_reachable(url: str) -> bool:
    """Return whether asking makes sense: the Hub's client retries a name that does not resolve for 23 seconds."""
    host = urlsplit(url).netloc
    if host not in unreachable_hosts and not getproxies():
        try:
            socket.getaddrinfo(urlsplit(url).hostname, None)
        except OSError:
            unreachable_hosts[host] = "cannot resolve the host name"
    return host not in unreachable_hosts
