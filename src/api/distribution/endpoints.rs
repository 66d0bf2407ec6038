//! The table of endpoints: for each its path and methods, its label in metrics and logs, the
//! permissions that it requires, and its handler.

use std::future::Future;
use std::pin::Pin;

use axum::body::Body;
use http::{Method, Response, StatusCode};
use wharfinger_api_core::response::{JSON, document};
use wharfinger_iam::ScopeAction::{self, All, Delete, Pull, Push};

use crate::error::DistributionError;
use crate::permissions::{
    APPEND_UPLOAD, CHECK_LAYER, DELETE_IMAGE, FINISH_UPLOAD, LIST_IMAGES, PUT_IMAGE, READ_IMAGE,
    READ_LAYER, RequiredPermissions, START_UPLOAD,
};
use crate::request::AuthorizedRequest;
use crate::route::{PathForm, RouteError};
use crate::{blobs, catalog, manifests, referrers, tags, uploads};

/// The response of a handler.
pub(crate) type HandlerFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Response<Body>, DistributionError>> + Send + 'a>>;

/// One endpoint of the API.
pub(crate) struct Endpoint {
    pub(crate) path: PathForm,
    pub(crate) methods: &'static [Method],
    /// The label in metrics and logs.
    pub(crate) name: &'static str,
    pub(crate) permissions: RequiredPermissions,
    pub(crate) handler: for<'a> fn(&'a AuthorizedRequest<'a>, Body) -> HandlerFuture<'a>,
}

const GET: &[Method] = &[Method::GET];
const GET_HEAD: &[Method] = &[Method::GET, Method::HEAD];
const HEAD: &[Method] = &[Method::HEAD];
const POST: &[Method] = &[Method::POST];
const PATCH: &[Method] = &[Method::PATCH];
const PUT: &[Method] = &[Method::PUT];
const DELETE: &[Method] = &[Method::DELETE];

/// Every endpoint once. AWS has no action for the state of an upload or its end: the action for
/// adding a part permits them. `BatchGetImage` permits listing referrers, as it does for AWS's own
/// `ListImageReferrers`.
pub(crate) static ENDPOINTS: [Endpoint; 16] = [
    Endpoint {
        path: PathForm::Base,
        methods: GET_HEAD,
        name: "Ping",
        permissions: RequiredPermissions::NONE,
        handler: |_, _| Box::pin(async { Ok(document(StatusCode::OK, JSON, "{}")) }),
    },
    Endpoint {
        path: PathForm::Catalog,
        methods: GET_HEAD,
        name: "Catalog",
        // The IAM action is decided for each repository that the listing shows.
        permissions: RequiredPermissions::new(&[], All),
        handler: |request, _| Box::pin(catalog::list(request)),
    },
    Endpoint {
        path: PathForm::Blob,
        methods: GET,
        name: "ReadBlob",
        permissions: RequiredPermissions::new(&[READ_LAYER], Pull),
        handler: |request, _| Box::pin(blobs::read(request)),
    },
    Endpoint {
        path: PathForm::Blob,
        methods: HEAD,
        name: "CheckBlob",
        permissions: RequiredPermissions::new(&[CHECK_LAYER], Pull),
        handler: |request, _| Box::pin(blobs::check(request)),
    },
    Endpoint {
        path: PathForm::Blob,
        methods: DELETE,
        name: "DeleteBlob",
        permissions: RequiredPermissions::new(&[DELETE_IMAGE], Delete),
        handler: |request, _| Box::pin(blobs::delete(request)),
    },
    Endpoint {
        path: PathForm::Manifest,
        methods: GET,
        name: "ReadManifest",
        permissions: RequiredPermissions::new(&[READ_IMAGE], Pull),
        handler: |request, _| Box::pin(async { manifests::read(request) }),
    },
    Endpoint {
        path: PathForm::Manifest,
        methods: HEAD,
        name: "CheckManifest",
        permissions: RequiredPermissions::new(&[READ_IMAGE], Pull),
        handler: |request, _| Box::pin(async { manifests::check(request) }),
    },
    Endpoint {
        path: PathForm::Manifest,
        methods: PUT,
        name: "PutManifest",
        permissions: RequiredPermissions::new(&[PUT_IMAGE], Push).creating_repository(),
        handler: |request, body| Box::pin(manifests::put(request, body)),
    },
    Endpoint {
        path: PathForm::Manifest,
        methods: DELETE,
        name: "DeleteManifest",
        permissions: RequiredPermissions::new(&[DELETE_IMAGE], Delete),
        handler: |request, _| Box::pin(manifests::delete(request)),
    },
    Endpoint {
        path: PathForm::Uploads,
        methods: POST,
        name: "StartUpload",
        permissions: RequiredPermissions::new(&[START_UPLOAD], Push)
            .and(|request| {
                if request.query.first("mount").is_some() {
                    // A mount adds a layer to the repository, as completing an upload does.
                    &[FINISH_UPLOAD]
                } else if request.query.first("digest").is_some() {
                    // The request carries the whole blob: it does what three requests would do.
                    &[APPEND_UPLOAD, FINISH_UPLOAD]
                } else {
                    &[]
                }
            })
            .creating_repository(),
        handler: |request, body| Box::pin(uploads::start(request, body)),
    },
    Endpoint {
        path: PathForm::Upload,
        methods: GET_HEAD,
        name: "GetUpload",
        permissions: RequiredPermissions::new(&[APPEND_UPLOAD], Push),
        handler: |request, _| Box::pin(uploads::status(request)),
    },
    Endpoint {
        path: PathForm::Upload,
        methods: PATCH,
        name: "AppendUpload",
        permissions: RequiredPermissions::new(&[APPEND_UPLOAD], Push),
        handler: |request, body| Box::pin(uploads::append(request, body)),
    },
    Endpoint {
        path: PathForm::Upload,
        methods: PUT,
        name: "FinishUpload",
        // The last request may carry the last bytes.
        permissions: RequiredPermissions::new(&[FINISH_UPLOAD], Push).and(|request| {
            if request.has_body {
                &[APPEND_UPLOAD]
            } else {
                &[]
            }
        }),
        handler: |request, body| Box::pin(uploads::finish(request, body)),
    },
    Endpoint {
        path: PathForm::Upload,
        methods: DELETE,
        name: "CancelUpload",
        permissions: RequiredPermissions::new(&[APPEND_UPLOAD], Push),
        handler: |request, _| Box::pin(uploads::cancel(request)),
    },
    Endpoint {
        path: PathForm::Tags,
        methods: GET_HEAD,
        name: "ListTags",
        permissions: RequiredPermissions::new(&[LIST_IMAGES], Pull),
        handler: |request, _| Box::pin(tags::list(request)),
    },
    Endpoint {
        path: PathForm::Referrers,
        methods: GET_HEAD,
        name: "ListReferrers",
        permissions: RequiredPermissions::new(&[READ_IMAGE], Pull),
        handler: |request, _| Box::pin(referrers::list(request)),
    },
];

impl Endpoint {
    /// The endpoint of a path and a method.
    ///
    /// # Errors
    /// [`RouteError::Method`] with the methods that the path has.
    pub(crate) fn find(path: PathForm, method: &Method) -> Result<&'static Self, RouteError> {
        let of_path = || ENDPOINTS.iter().filter(|endpoint| endpoint.path == path);
        let mut endpoints = of_path();
        let found = endpoints.find(|endpoint| endpoint.methods.contains(method));
        found.ok_or_else(|| {
            let methods = of_path().flat_map(|endpoint| endpoint.methods);
            let allowed: Vec<_> = methods.map(Method::as_str).collect();
            RouteError::Method {
                allowed: allowed.join(", "),
            }
        })
    }
}

/// The IAM actions of the endpoints whose scope is `scope`, each once.
pub(crate) fn actions_of(scope: ScopeAction) -> Vec<&'static str> {
    let mut actions = Vec::new();
    for endpoint in ENDPOINTS
        .iter()
        .filter(|endpoint| endpoint.permissions.scope == Some(scope))
    {
        for action in endpoint.permissions.actions {
            if !actions.contains(action) {
                actions.push(*action);
            }
        }
    }
    actions
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_no_two_endpoints_share_a_path_and_a_method() {
        let names: BTreeSet<_> = ENDPOINTS.iter().map(|endpoint| endpoint.name).collect();
        assert_eq!(names.len(), ENDPOINTS.len());
        for endpoint in &ENDPOINTS {
            for method in endpoint.methods {
                let found = Endpoint::find(endpoint.path, method).map(|found| found.name);
                assert_eq!(found, Ok(endpoint.name));
            }
        }
    }

    #[test]
    fn another_method_is_told_which_ones_the_path_has() {
        for (path, method, allowed) in [
            (
                PathForm::Upload,
                Method::POST,
                "GET, HEAD, PATCH, PUT, DELETE",
            ),
            (PathForm::Uploads, Method::GET, "POST"),
            (PathForm::Manifest, Method::POST, "GET, HEAD, PUT, DELETE"),
            (PathForm::Tags, Method::PUT, "GET, HEAD"),
        ] {
            let found = Endpoint::find(path, &method).map(|found| found.name);
            let allowed = allowed.to_owned();
            assert_eq!(found, Err(RouteError::Method { allowed }), "{path:?}");
        }
    }

    #[test]
    fn a_scope_stands_for_the_actions_of_its_endpoints() {
        assert_eq!(
            actions_of(Pull),
            [READ_LAYER, CHECK_LAYER, READ_IMAGE, LIST_IMAGES]
        );
        assert_eq!(
            actions_of(Push),
            [PUT_IMAGE, START_UPLOAD, APPEND_UPLOAD, FINISH_UPLOAD]
        );
        assert_eq!(actions_of(Delete), [DELETE_IMAGE]);
    }
}
