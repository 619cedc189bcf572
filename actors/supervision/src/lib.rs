//! Supervision trees on actix.
