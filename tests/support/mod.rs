//! What every black-box test starts with: a server of its own, clients, and small content to push.

mod agent;
mod aws;
mod client;
mod content;
mod ecs;
mod process;
mod query;
mod server;
mod signature;

pub(crate) use agent::{AgentSocket, TestAgent};
pub(crate) use aws::{Aws, Outcome, now, on, seconds};
pub(crate) use client::{Client, Response};
pub(crate) use content::{digest_of, image, index, sha512_of};
pub(crate) use ecs::Ecs;
pub(crate) use process::{Process, command, run, run_ok, stderr};
pub(crate) use query::QueryOutcome;
pub(crate) use server::{ACCOUNT, Setup, TestServer};
