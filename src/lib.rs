//! deia: a hive of supervised bots behind a durable task queue.
