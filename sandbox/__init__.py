"""Bitrix24 and an SMS gateway on your own machine, for demos, tests and benchmarks.

It imports nothing of `app/`: the two meet on the wire only.
"""
