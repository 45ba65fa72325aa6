"""What is checked of a built table: one file a family of checks."""
