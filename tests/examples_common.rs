//! Runs the unit tests of `examples/common`. Cargo builds an example without them.

#[path = "../examples/common/mod.rs"]
mod common;
