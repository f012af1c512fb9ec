// SPDX-License-Identifier: MIT OR Apache-2.0

//! A vhost-user device that is honest, or lies as it is told: see `README.md`.

pub mod case;
pub mod fuzz;
pub mod lie;
mod memory;
pub mod model;
mod ring;
pub mod server;
pub mod teller;
