"""The `restore` program: one file for each sub-command."""
