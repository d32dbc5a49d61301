//! The embedded default: SQLite as the truth.
