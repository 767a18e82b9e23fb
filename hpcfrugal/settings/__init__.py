"""Settings from the command line, the environment and TOML files, each value with its origin."""
