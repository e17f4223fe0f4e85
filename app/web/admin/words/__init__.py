"""Words of the pages, in the reader's language."""
