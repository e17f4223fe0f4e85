"""Pieces of which several pages are made."""
