"""Arrays and files: layout, padding, reading, writing, metadata."""
