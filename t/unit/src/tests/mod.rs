//! One file for each file under test; `model` for the two that hold the live
//! requests, which are used together.

mod index;
mod model;
mod names;
mod scan;
mod side_table;
mod slots;
mod value;
