//! The websockets of container agents: ACS and TCS.
