//! The hive.
