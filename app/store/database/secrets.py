"""Secrets at rest: sealed with a key derived for their portal, looked up by keyed hashes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets as random_source
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import current_app


class SecretUnreadable(Exception):
    """None of ENCRYPTION_KEYS opens this value, or it was moved here from another portal's row."""


def _derive(master: str, purpose: str) -> bytes:
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode())
    return hkdf.derive(base64.urlsafe_b64decode(master))


class SecretBox:
    """Seals and opens with every configured key: the first one seals, all of them open."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._keys = keys
        self._lookup_keys = [_derive(key, "lookup") for key in keys]
        self._for_owner = lru_cache(maxsize=4096)(self._build)

    def _build(self, owner: str) -> MultiFernet:
        derived = (base64.urlsafe_b64encode(_derive(key, f"portal:{owner}")) for key in self._keys)
        return MultiFernet([Fernet(key) for key in derived])

    def seal(self, owner: str, plain: str) -> str:
        """Encrypt for `owner`, a portal's member_id; empty stays empty."""
        return self._for_owner(owner).encrypt(plain.encode()).decode() if plain else ""

    def open(self, owner: str, sealed: str) -> str:
        """The plain text.

        Raises:
            SecretUnreadable: wrong key, or sealed for another portal.
        """
        if not sealed:
            return ""
        try:
            return self._for_owner(owner).decrypt(sealed).decode()
        except InvalidToken:
            raise SecretUnreadable(
                f"a secret of portal {owner} cannot be opened with ENCRYPTION_KEYS"
            ) from None

    def hashes(self, value: str) -> list[str]:
        """The keyed hashes under which `value` may be stored; the first is the one to store."""
        return [hmac.new(key, value.encode(), hashlib.sha256).hexdigest() for key in self._lookup_keys]


def secret_box() -> SecretBox:
    box: SecretBox = current_app.extensions["secret_box"]
    return box


def new_secret() -> str:
    """192 random bits, url-safe."""
    return random_source.token_urlsafe(24)
