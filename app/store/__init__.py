"""Tables and named operations on them: the only room that commits. Secrets are encrypted at rest.

Its rooms know each other in one direction only, as `tests/test_layers.py` has them.
"""
