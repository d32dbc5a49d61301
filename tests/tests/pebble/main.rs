//! The test server in the place of Pebble: its management interface, its chains, its faults by rule, other people's clients.

mod chains;
mod chaos;
mod clients;
mod drop_in;
mod judged;
