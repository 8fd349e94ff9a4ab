//! Variables: what a value is, and the two ways to one ([`read`]): by name, and by what
//! was found of a name before.

pub mod assign;
pub mod builtin;
pub mod field;
pub mod name;
pub mod number;
mod prefix;
pub mod read;
pub mod scan;
pub mod table;
pub mod value;
