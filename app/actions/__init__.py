"""What a person or a machine may ask of the product: one use case a file, the same for every door."""
