//! One file for each file under test, and `model` for the slots and the index together.

mod culprits;
mod figures;
mod index;
mod model;
mod side_table;
mod slots;
mod text;
mod value;

/// How many iterations a test makes: `under_miri` in Miri, which takes a thousand times as long.
const fn many(count: usize, under_miri: usize) -> usize {
    if cfg!(miri) { under_miri } else { count }
}
