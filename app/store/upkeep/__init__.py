"""What ends: texts and rows whose time is over, erased numbers and portals, keys that are replaced."""
