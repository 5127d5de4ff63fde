"""The built-in multi-view studio: people, motion, a room, cameras, and a software renderer."""
