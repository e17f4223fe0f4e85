"""What the product costs, beside its own past and beside what others would use: `make bench`."""
