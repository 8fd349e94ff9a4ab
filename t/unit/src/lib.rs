//! The files of the module that do not depend on nginx.
//!
//! They are included under the names that they have in the module, so that their `use crate::…`
//! paths resolve. Only the tests use them.

#![allow(dead_code)]

/// Which atomics the files use: Rust's, or those of loom, which tries every order of the
/// threads' operations (`make loom`).
#[cfg(not(loom))]
use std::sync::atomic;

#[cfg(loom)]
use loom::sync::atomic;

#[path = "../../../src/culprits"]
pub mod culprits {
    pub mod table;
}

#[path = "../../../src/figures"]
pub mod figures {
    pub mod rows;
}

#[cfg(not(loom))]
#[path = "../../../src/registry"]
pub mod registry {
    pub mod by_address;
    pub mod slots;
}

#[path = "../../../src/text.rs"]
pub mod text;

#[cfg(not(loom))]
#[path = "../../../src/variable"]
pub mod variable {
    pub mod number;
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod orders;
