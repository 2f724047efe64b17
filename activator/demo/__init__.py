"""A small honest model server and the traffic of `activator demo`; nothing the product needs."""
