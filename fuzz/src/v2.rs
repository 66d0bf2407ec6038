//! The request lines, queries and ranges of `/v2/`, without its handlers.

#[path = "../../src/api/v2/query.rs"]
pub mod query;
#[path = "../../src/api/v2/range.rs"]
pub mod range;
#[path = "../../src/api/v2/route.rs"]
pub mod route;
