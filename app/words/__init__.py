"""Texts in people's languages: the catalogues, and the words that leave our pages."""
