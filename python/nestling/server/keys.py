"""API keys: made once, stored as digests, compared in constant time.

The file is JSON, one object a key, by the name of its holder:

```json
{"search-page": {"sha256": "9f86d081884c7d65…", "role": "read", "collections": ["team-*"]}}
```

`sha256` is the digest of the key, which itself is nowhere. A role is "read", "write" (documents),
or "admin" (collections, tuning, backups). Collections are names or patterns; without them, all.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal, get_args

from nestling._util.atomic import new_file
from nestling._util.paths import absolute
from nestling.errors import ArgumentError, SettingError, StorageError
from nestling.server.errors import RequestError

__all__ = ["ANYONE", "ApiKey", "ApiKeys", "Role", "new_key", "read_keys", "write_keys"]

Role = Literal["read", "write", "admin"]

_ROLES: Final[tuple[Role, ...]] = get_args(Role)
_PREFIX: Final = "nest-"  # what scanners for leaked keys can look for
_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """Who calls, and what they may do.

    Attributes:
        name: Who it was made for; the log shows it.
        role: "read", "write", or "admin"; each includes the ones before.
        collections: Names or patterns of the collections it is for.
        digest: SHA-256 of the key, in hexadecimal digits.
    """

    name: str
    role: Role
    collections: tuple[str, ...] = ("*",)
    digest: str = ""

    def allows(self, role: Role, collection: str | None = None) -> bool:
        """Returns whether it may act in a role, in a collection if one is named.

        Example:
            >>> key = ApiKey(name="page", role="read", collections=("team-*",))
            >>> key.allows("read", "team-a"), key.allows("write", "team-a"), key.allows("read", "b")
            (True, False, False)
        """
        if _ROLES.index(role) > _ROLES.index(self.role):
            return False
        if collection is None or "*" in self.collections:
            return True
        return any(fnmatchcase(collection, one) for one in self.collections)

    def require(self, role: Role, collection: str | None = None) -> None:
        """Raises an error unless it may act so.

        Raises:
            RequestError: 403.
        """
        if not self.allows(role, collection):
            where = "" if collection is None else f" in the collection {collection!r}"
            raise RequestError(
                403, f"this key may not {_WORDS[role]}{where}", code="insufficient_permissions"
            )


_WORDS: Final = {"read": "read", "write": "write", "admin": "administer"}
ANYONE: Final = ApiKey(name="anyone", role="admin")


class ApiKeys:
    """The keys that a server accepts.

    Args:
        keys: The keys.

    Example:
        >>> key, record = new_key("page", "read")
        >>> ApiKeys([record]).identify(f"Bearer {key}").name
        'page'
    """

    def __init__(self, keys: list[ApiKey]) -> None:
        self._keys = keys

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ApiKeys:
        """Reads a file of keys.

        Raises:
            SettingError: It is malformed.
            StorageError: It cannot be read.
        """
        keys = read_keys(path)
        if not keys:
            raise SettingError(f"{path}: has no keys; make one with nestling keys add")
        return cls(list(keys.values()))

    def identify(self, authorization: str | None) -> ApiKey:
        """Returns the key that a header `Authorization` carries.

        Every stored digest is compared, each in constant time.

        Raises:
            RequestError: 401; there is none, or it is unknown.
        """
        scheme, _, key = (authorization or "").partition(" ")
        digest = hashlib.sha256(key.strip().encode("utf-8", "replace")).hexdigest()
        found: ApiKey | None = None
        for each in self._keys:
            if hmac.compare_digest(each.digest, digest):
                found = each
        if found is None or scheme.lower() != "bearer":
            raise RequestError(
                401,
                "an API key is needed: send the header 'Authorization: Bearer KEY'"
                if not key
                else "the API key is unknown",
                code="invalid_api_key",
            )
        return found


def new_key(name: str, role: Role, collections: tuple[str, ...] = ("*",)) -> tuple[str, ApiKey]:
    """Returns a new random key, and what is stored of it.

    Raises:
        ArgumentError: The role is unknown.
    """
    if role not in _ROLES:
        raise ArgumentError(f"role must be one of {_ROLES}, not {role!r}")
    key = _PREFIX + secrets.token_urlsafe(_BYTES)
    digest = hashlib.sha256(key.encode()).hexdigest()
    return key, ApiKey(name=name, role=role, collections=collections, digest=digest)


def read_keys(path: str | os.PathLike[str]) -> dict[str, ApiKey]:
    """Returns the keys of a file by name.

    Raises:
        SettingError: It is malformed.
        StorageError: It cannot be read.
    """
    try:
        entries = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise StorageError(error.errno, error.strerror, str(path)) from error
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{path}: not JSON: {error}") from error
    if not isinstance(entries, dict):
        raise SettingError(f"{path}: expected an object of keys by name")
    return {name: _key(name, entry, str(path)) for name, entry in entries.items()}


def write_keys(path: str | os.PathLike[str], keys: Mapping[str, ApiKey]) -> None:
    """Replaces a file of keys, which its owner alone can read.

    Raises:
        StorageError: It cannot be written.
    """
    entries = {
        name: {"sha256": key.digest, "role": key.role, "collections": list(key.collections)}
        for name, key in keys.items()
    }
    with new_file(absolute(path)) as staged:
        staged.touch(mode=0o600)
        staged.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def _key(name: str, entry: Any, path: str) -> ApiKey:
    where = f"{path}: {name!r}"
    if not isinstance(entry, dict) or set(entry) - {"sha256", "role", "collections"}:
        raise SettingError(f"{where}: expected sha256, role and collections")
    digest, role = entry.get("sha256"), entry.get("role", "read")
    collections = entry.get("collections", ["*"])
    if not isinstance(digest, str) or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise SettingError(f"{where}: sha256 must be 64 hexadecimal digits")
    if role not in _ROLES:
        raise SettingError(f"{where}: role must be one of {_ROLES}, not {role!r}")
    if not isinstance(collections, list) or not all(isinstance(one, str) for one in collections):
        raise SettingError(f"{where}: collections must be a list of names")
    return ApiKey(name=name, role=role, collections=tuple(collections), digest=digest)
