//! The identity APIs: who a caller is, and temporary credentials.

mod sessions;
