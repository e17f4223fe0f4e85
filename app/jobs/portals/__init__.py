"""Jobs on portals: their events, how they stand, what keeps them in step."""
