// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command as its users run it, on small checkouts and kernel trees.

mod assemble;
mod failures;
mod send_test;
mod support;
