//! The Pebble personality: a test-only server in the place of Let's Encrypt's Pebble, put together from the daemon's rooms.
//!
//! What it does to toughen clients is in [`chaos`], a layer in front of the ACME resources that only
//! this room can build: the daemon's own doors never pass through here.

pub mod chaos;
mod config;
mod environment;
mod fronts;
mod management;
mod renewal;
mod settings;
mod start;

pub use config::{Config, ConfigFileError};
pub use environment::Environment;
pub use settings::{Choices, choose, listeners, narrowed};
pub use start::{Built, Listeners, Plan, StartError, build};

use axum::{extract::Request, response::Response};

/// What is behind the layer of chaos.
struct Behind {
    fronts: fronts::Fronts,
    overrides: std::sync::Arc<renewal::Overrides>,
}

impl Behind {
    async fn answer(&self, request: Request) -> Response {
        match self.overrides.answer(request.method(), request.uri().path()) {
            Some(response) => response,
            None => self.fronts.answer(request).await,
        }
    }
}
