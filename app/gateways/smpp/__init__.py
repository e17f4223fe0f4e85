"""SMPP 3.4: packets, texts, receipts, and the session that holds a link to a message centre.

The packets are our own, since the libraries that were tried lose receipts or the stream: one cuts long values
without a word, another breaks the link over a receipt with letters in its error code. They are the tests'
second opinion.

Source: SMPP Protocol Specification v3.4, issue 1.2.
"""
