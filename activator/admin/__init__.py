"""The admin port: health, metrics, the API of operators. Reaches `control` through a protocol
of its own (`admin.ports`)."""
