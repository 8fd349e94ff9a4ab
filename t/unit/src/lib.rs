//! The files of the module that know nothing of nginx, by themselves.
//!
//! They are included, not copied. Their names here are the ones they have in the
//! module, so that `use crate::slots::…` in one of them means the same.

#[path = "../../../src/index.rs"]
pub mod index;
#[path = "../../../src/names.rs"]
pub mod names;
#[path = "../../../src/scan.rs"]
pub mod scan;
#[path = "../../../src/slots.rs"]
pub mod slots;
#[path = "../../../src/value.rs"]
pub mod value;

#[cfg(test)]
mod tests;
