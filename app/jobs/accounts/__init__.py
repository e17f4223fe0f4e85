"""Jobs on gateway accounts: checked regularly, probed while they are stopped."""
