"""The command line: every command is a thin call into one room."""
