"""What the operator's machines ask."""
