"""What somebody would use instead of the product, at the same work."""
