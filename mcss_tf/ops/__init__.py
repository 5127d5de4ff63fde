"""The custom op and its plain reference."""
