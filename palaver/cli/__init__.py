"""The command line: one file per command. Commands use the library, and so the public API only."""
