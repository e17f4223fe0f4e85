"""What is counted and shown: the statistics, the overview, incidents, and the figures of the operator."""
