//! One behaviour suite, run on every side of the store.
