"""HTTP in: parse, check who calls, one call into the store, answer."""
