//! Logs of containers, stored in bounded segments on disk.
