"""Tables and named operations on them: the only room that commits. Secrets are encrypted at rest."""
