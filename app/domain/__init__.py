"""Plain Python: messages, statuses, phone numbers, segments, retry times. No Flask, SQL or HTTP."""
