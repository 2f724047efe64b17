"""What is measured and how it is logged: every instrument once. Decides nothing."""
