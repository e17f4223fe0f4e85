"""`flask --app app keys ...`"""

from __future__ import annotations

from flask.cli import AppGroup

from app.cli.output import as_json, fail, show
from app.store.database.secrets import SecretUnreadable
from app.store.upkeep import rotation

keys_group = AppGroup("keys", help="The keys of secrets at rest.")


@keys_group.command("rotate")
@as_json
def keys_rotate(as_json: bool) -> None:
    """Seal every secret with the first of ENCRYPTION_KEYS; afterwards the others may go."""
    try:
        changed = rotation.rotate_keys()
    except SecretUnreadable as error:
        fail(f"{error}; put the key that sealed it back into ENCRYPTION_KEYS and repeat")
    show(changed, [f"{table}: {count}" for table, count in changed.items()], as_json=as_json)
