"""Object stores: the real forms of core.ports.ObjectStore, and open_store, which makes one from a URL."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from tailrace_core.errors import InvalidSettings
from tailrace_core.ports import ObjectStore
from tailrace_engine.objects.local import LocalStore
from tailrace_engine.objects.measured import MeasuredStore

__all__ = ["LocalStore", "MeasuredStore", "open_store"]


def open_store(url: str, removes_leftovers: bool = False) -> ObjectStore:
    """The store at url. Blocks for a moment, for the folder's sake.

    removes_leftovers: what puts left that never ended goes; for a broker's start, before anybody puts.
    Raises InvalidSettings, which says what is allowed, and StorageUnavailable for a folder that cannot be used.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.startswith("/"):
        raise InvalidSettings(f"object store {url!r}: allowed is file:///absolute/path (a local folder)")
    if parts.query or parts.fragment:
        raise InvalidSettings(f"object store {url!r}: a file:// URL has no query and no fragment")
    return LocalStore(Path(path), removes_leftovers)
