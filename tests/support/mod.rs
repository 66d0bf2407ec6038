//! What every black-box test starts with: a server of its own, a client, and small things to push.

mod aws;
mod client;
mod content;
mod server;

pub(crate) use aws::{Aws, on};
pub(crate) use client::{Answer, Client};
pub(crate) use content::{digest_of, image, index, sha512_of};
pub(crate) use server::{Setup, TestServer};
