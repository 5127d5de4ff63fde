"""Where instants come from: one module per kind of source."""
