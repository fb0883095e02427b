"""What each command does, one module a command; `batchtui.cli` parses and calls them."""
