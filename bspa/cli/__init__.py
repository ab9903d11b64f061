"""The command `bspa`: a module for each subcommand, and `main`, which runs them."""
