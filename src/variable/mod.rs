//! Variables: their values, and how they are read and assigned.
//!
//! [`read`] resolves a name and reads it. [`field`] has the variables that are read directly from
//! the request, and [`nginx_handlers`] tells whether a variable still has nginx's own handler.

pub mod assign;
pub mod field;
pub mod nginx_handlers;
pub mod number;
pub mod read;
pub mod value;
