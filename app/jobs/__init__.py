"""Work on due rows: claim one, do one thing outward, record the outcome. And the clock's own work."""
