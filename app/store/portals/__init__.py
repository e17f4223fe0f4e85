"""Portals: who they are and how they stand, their tokens, senders and events, the limits of their calls."""
