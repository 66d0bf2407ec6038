//! Parses paths and queries of `/v2/`.

#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use wharfinger::api::v2::query::Query;
use wharfinger::api::v2::route::Route;

fuzz_target!(|text: &str| {
    for method in [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ] {
        let _ = Route::parse(&method, text);
        let _ = Route::parse(&method, &format!("/v2/{text}"));
    }
    if let Ok(query) = Query::parse(Some(text)) {
        let _ = (
            query.digest(),
            query.digest_algorithm(),
            query.tags(),
            query.page_size(),
            query.last(),
            query.mount().is_ok(),
        );
    }
});
