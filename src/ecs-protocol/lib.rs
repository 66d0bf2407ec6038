//! The messages of the ECS agent protocol: ACS and TCS frames, and container configurations.
