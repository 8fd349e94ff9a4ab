//! The files of the module that do not depend on nginx.
//!
//! They are included under the names that they have in the module, so that their `use crate::…`
//! paths resolve.

#[path = "../../../src/registry"]
pub mod registry {
    pub mod by_address;
    pub mod slots;
}

#[path = "../../../src/variable"]
pub mod variable {
    pub mod number;
}

#[cfg(test)]
mod tests;
