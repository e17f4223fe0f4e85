"""One deed for many messages: which ones, how far the job is, and the files that exports leave."""
