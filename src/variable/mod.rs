//! Variables: their values, and how they are read and assigned.
//!
//! [`read`] resolves a name and reads it. [`field`] has the variables that are read directly from
//! the request, and [`nginx_handlers`] tells whether a variable still has nginx's own handler.

pub(crate) mod assign;
pub(crate) mod field;
pub(crate) mod nginx_handlers;
pub(crate) mod number;
pub(crate) mod read;
pub(crate) mod value;
