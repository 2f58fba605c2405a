"""The commands, one module each: it has the command's name, and its function ``command`` parses, calls, renders."""
