//! The container agent: registers a host, receives tasks over ACS and runs their containers.
