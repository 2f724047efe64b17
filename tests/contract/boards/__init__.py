"""What the demand boards of several activators promise together, in memory and over Redis."""
