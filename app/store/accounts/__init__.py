"""Gateway accounts: their settings, whether they work, and how fast they may be called."""
