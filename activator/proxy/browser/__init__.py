"""What a person in a browser sees while an endpoint starts: the waiting page, and its stream."""
