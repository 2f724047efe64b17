"""Where endpoints are declared: a file (`file`; protocol in `base`), objects of a cluster
(`kubernetes`)."""
