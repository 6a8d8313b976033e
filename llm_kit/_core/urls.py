"""URLs: checked, put together, and shown without what may be secret in them."""

from __future__ import annotations

from urllib.parse import unquote, unquote_plus, urlsplit, urlunsplit


def checked_url(url: object) -> str:
    """
    Refuse what can't be the base of an API.

    Raises:
        TypeError, ValueError: saying what to write instead.
    """
    if url is None:
        raise ValueError(
            'no base_url: write LLMClient(base_url="http://localhost:8000/v1"), or set'
            " LLM_KIT_BASE_URL or OPENAI_BASE_URL"
        )
    if not isinstance(url, str):
        raise TypeError(f"base_url must be a string, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None  # asking for the port checks it
    except ValueError:
        host, parts = None, None
    if parts is None or parts.scheme not in ("http", "https") or not host or not _is_host(host):
        raise ValueError(
            f"base_url {shown_url(url)!r} must begin with http:// or https:// and name a host,"
            ' perhaps with a port, like "http://localhost:8000/v1"'
        )
    return url


def _is_host(host: str) -> bool:
    return host.isprintable() and not any(sign in host for sign in " <>\"'\\^`{|}")


def secrets_in_url(url: str) -> list[str]:
    """Give what may be secret in a URL, as it stands there and decoded: password and query."""
    parts = urlsplit(url)
    values = [parts.password or "", *(pair.partition("=")[2] for pair in parts.query.split("&"))]
    return [form(value) for value in values for form in (str, unquote, unquote_plus)]


def shown_url(url: str) -> str:
    """
    Leave out what may be secret: user, password and query.

    >>> shown_url("https://me:secret@host/v1?key=secret")
    'https://host/v1'
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no URL)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def joined_url(base_url: str, path: str, root: str = "") -> str:
    """
    Add the API's path, before a query if there is one (Azure's ``?api-version=``).

    >>> joined_url("https://host/v1/?api-version=1", "/chat/completions")
    'https://host/v1/chat/completions?api-version=1'
    >>> joined_url("https://host", "/stream?alt=sse", root="/v1")
    'https://host/v1/stream?alt=sse'

    Args:
        base_url: where the API is.
        path: what is added, unless it is there already; perhaps with a query.
        root: what stands between the two if the base URL has no path.
    """
    parts = urlsplit(base_url)
    path, _, query = path.partition("?")
    whole = parts.path.rstrip("/") or root
    return urlunsplit(
        parts._replace(
            path=whole if whole.endswith(path) else whole + path,
            query="&".join(filter(None, (query, parts.query))),
        )
    )
