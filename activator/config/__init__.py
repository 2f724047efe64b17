"""Outside words → core types: the schema, its checks with file, line and key path, the settings.

Nothing else in the house parses configuration."""
