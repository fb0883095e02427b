"""The configuration: `schema` is its shape, `load` reads a user's YAML file into it."""
