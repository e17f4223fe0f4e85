"""What all pages share: the document, the session, the headers."""
