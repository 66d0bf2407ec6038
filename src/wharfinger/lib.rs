//! Wharfinger: an Amazon ECR and an Amazon ECS on your own machines.

pub mod api;
pub mod app;
mod backup;
pub mod cli;
mod collection;
pub mod config;
mod data_folder;
mod event_delivery;
mod fsck;
mod lifecycle;
mod local_agents;
mod loopback;
mod readings;
mod rebuild;
mod replication_destinations;
mod restore;
mod scan_readings;
pub mod server;
mod upstream_roles;
mod upstreams;
