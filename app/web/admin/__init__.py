"""The pages that people see in the portal's frame."""
