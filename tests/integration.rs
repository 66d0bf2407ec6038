//! Black-box tests: each starts a server on its own port and speaks HTTP to it as clients do.

mod distribution;
mod ecr;
mod ecs;
mod iam;
mod logs;
mod process;
mod support;
