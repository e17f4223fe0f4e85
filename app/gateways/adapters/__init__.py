"""One gateway a file: what a vendor wants to hear, and what its answers mean."""
