"""Where endpoints are declared: a file (`file`), later a cluster. Protocol in `base`."""
