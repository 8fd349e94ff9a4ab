//! The files of the module that know nothing of nginx, by themselves.
//!
//! They are included, not copied. Their names here are the ones they have in the
//! module, so that `use crate::slots::…` in one of them means the same.

#[path = "../../../src/registry"]
pub mod registry {
    pub mod by_address;
    pub mod slots;
}

#[path = "../../../src/variable"]
pub mod variable {
    pub mod name;
    pub mod number;
    pub mod scan;
}

#[cfg(test)]
mod tests;
