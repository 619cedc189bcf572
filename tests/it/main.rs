//! Journeys through the front door: the real binary, over HTTP and from the
//! command line. One binary, so that it is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod access;
mod access_table;
mod admin_key;
mod admission;
mod bot_faults;
mod bot_secrets;
mod cli_access;
mod cli_bots;
mod cli_comfort;
mod cli_first_steps;
mod cli_front;
mod cli_interrupts;
mod cli_messages;
mod cli_operate;
mod cli_outputs;
mod cli_queue;
mod cli_support;
mod cli_tasks;
mod copied_data;
mod crash;
mod deaths;
mod erasure;
mod events;
mod evidence;
mod expectations;
mod forgeries;
mod full_disk;
mod full_disk_signs;
mod fuzz;
mod guides;
mod host_limits;
mod http_bots;
mod http_input;
mod http_keys;
mod http_modules;
mod http_queue;
mod http_server;
mod http_streams;
mod http_tasks;
mod inputs;
mod issuer;
mod jwt;
mod late_reaper;
mod layers;
mod log_streams;
mod logs;
mod lost_data;
mod metrics;
mod names;
mod openapi;
mod outputs;
mod programs;
mod prose;
mod reload;
mod replacements;
mod restart;
mod restart_drain;
mod restart_failed;
mod revocation;
mod roles;
mod runners;
mod schemas;
mod schemathesis;
mod secrets;
mod services;
mod sessions;
mod store_faults;
mod supervisors;
mod support;
mod tidy;
mod tls;
mod traces;
mod viewer;
mod visibility;
mod wire;
