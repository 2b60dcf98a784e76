"""The subcommands of `regionstack`, one module per group."""
