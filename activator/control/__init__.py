"""The loops that feed the brain and carry out its effects: one `controller` task an endpoint."""
