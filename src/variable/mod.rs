//! Variables: their values, and how they are read and assigned.
//!
//! [`read`] reads a variable by name, or by a name that was resolved before. [`table`] has
//! the variables of a configuration, [`field`] those that are read directly from the
//! request, and `prefix` and [`scan`] look up `$http_…`, `$arg_…` and their like.

pub mod assign;
pub mod field;
pub mod name;
pub mod nginx_handlers;
pub mod number;
mod prefix;
pub mod read;
pub mod scan;
pub mod table;
pub mod value;
