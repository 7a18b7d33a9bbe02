"""The key that signs stored results. It lives outside the store, so that nobody can plant one.

It is made on first use in the user's configuration folder; ``FLOWKIT_CACHE_KEY`` replaces it
where several users or machines shall trust each other's results.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowkit_plugins.cache.faults import StoreError

VARIABLE = "FLOWKIT_CACHE_KEY"
SIGNATURE_BYTES = 32
_SHORTEST = 16
_ONE_SHOT = 1 << 16
_DOMAIN = b"flowkit-blob/1\0"
_INNER, _OUTER = bytes(x ^ 0x36 for x in range(256)), bytes(x ^ 0x5C for x in range(256))


def signing_key(environ: Mapping[str, str] = os.environ) -> bytes:
    """Return the 32-byte key, made now if there is none.

    Raises:
        StoreError: The key cannot be read, kept or trusted.
    """
    shared = environ.get(VARIABLE)
    if shared is None:
        return _own_key(_key_file(environ))
    if len(shared) < _SHORTEST:
        raise StoreError(
            f"{VARIABLE} is too short to sign results ({len(shared)} characters)",
            known=f"It needs at least {_SHORTEST}.",
            remedy="Make one: python -c 'import secrets; print(secrets.token_hex(32))'",
        )
    return hashlib.sha256(b"flowkit-cache-key\0" + shared.encode()).digest()


def sign(key: bytes, blob_id: str, header: bytes | memoryview, stream: bytes | memoryview) -> bytes:
    """Return the HMAC-SHA256 of a blob: its id, header (with checksums) and pickle stream."""
    begun, ends = _states(key)
    inner, outer = begun.copy(), ends.copy()
    intro = b"".join((_DOMAIN, blob_id.encode(), b"\0", header))
    if len(stream) <= _ONE_SHOT:
        inner.update(b"".join((intro, stream)))
    else:
        inner.update(intro)
        inner.update(stream)
    outer.update(inner.digest())
    signature: bytes = outer.digest()
    return signature


@functools.lru_cache(maxsize=8)
def _states(key: bytes) -> tuple[Any, Any]:
    """Return the two hashes that HMAC (RFC 2104) is made of, begun with the key.

    To begin with a key costs as much again as to hash a small result, and the key is the same.
    """
    block = key.ljust(64, b"\0") if len(key) <= 64 else hashlib.sha256(key).digest().ljust(64, b"\0")
    inner = hashlib.sha256(block.translate(_INNER))
    return inner, hashlib.sha256(block.translate(_OUTER))


def _key_file(environ: Mapping[str, str]) -> Path:
    configured = environ.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(configured):  # the XDG standard ignores relative ones
        return Path(configured) / "flowkit" / "cache.key"
    home = environ.get("HOME") or os.path.expanduser("~")
    return Path(home) / ".config" / "flowkit" / "cache.key"


def _own_key(path: Path) -> bytes:
    try:
        if not path.exists():
            _make(path)
        with path.open("rb") as file:
            mode = os.fstat(file.fileno())
            text = file.read(1024)
    except OSError as error:
        raise StoreError(
            f"cannot keep the key that signs results in {path}",
            known=str(error),
            remedy=f"Set {VARIABLE}, or XDG_CONFIG_HOME to a folder you may write to.",
        ) from error
    if hasattr(os, "geteuid") and (mode.st_uid != os.geteuid() or mode.st_mode & 0o077):
        raise StoreError(
            f"others may know or change the key in {path}",
            known=f"It belongs to uid {mode.st_uid}, mode {mode.st_mode & 0o777:o}.",
            remedy=f"Delete it (stored results are then computed anew), or set {VARIABLE}.",
        )
    try:
        key = bytes.fromhex(text.decode())
    except ValueError:
        key = b""
    if len(key) != SIGNATURE_BYTES:
        raise StoreError(
            f"{path} holds no key",
            known=f"{len(text)} bytes where 64 hexadecimal digits were expected.",
            remedy="Delete it; a new one is made, and stored results are computed anew.",
        )
    return key


def _make(path: Path) -> None:
    """Put a new key at ``path`` whole or not at all; of two processes one wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(os.urandom(SIGNATURE_BYTES).hex().encode())
        # A link, not a rename: it fails if somebody was faster, and theirs is then used.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
