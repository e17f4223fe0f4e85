from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from app.store.database.secrets import SecretBox, SecretUnreadable

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


def test_each_portal_has_a_sealing_key_of_its_own() -> None:
    """A ciphertext that somebody moved into another portal's row opens nothing."""
    box = SecretBox((NEW,))
    sealed = box.seal("a" * 32, "a secret")

    assert box.open("a" * 32, sealed) == "a secret"
    with pytest.raises(SecretUnreadable):
        box.open("b" * 32, sealed)


def test_a_handler_is_found_by_its_older_key() -> None:
    stored = SecretBox((OLD,)).hashes("handler secret")[0]

    assert stored in SecretBox((NEW, OLD)).hashes("handler secret")
    assert SecretBox((NEW, OLD)).open("a", SecretBox((OLD,)).seal("a", "x")) == "x"
