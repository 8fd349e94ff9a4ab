//! One file for each file under test; `model` for the two that hold the live
//! requests, which are used together.

mod index;
mod model;
mod names;
mod scan;
mod side_table;
mod slots;
mod value;

/// How many of something a test goes through: `under_miri` in Miri, which takes a
/// thousand times as long.
const fn many(count: usize, under_miri: usize) -> usize {
    if cfg!(miri) { under_miri } else { count }
}
