//! `maxResults` and `nextToken` of ECR's listings.

use wharfinger_base::PageToken;
use wharfinger_registry::{ImagePosition, RegistryId, Repository};

use crate::{Error, Result, error};

/// Items on a page where the request does not say (ECR API reference, `maxResults`).
const DEFAULT_ITEMS: usize = 100;

/// How many items the page shall have; the constraints have bounded the number already.
pub(super) fn limit(max_results: Option<u32>) -> usize {
    max_results
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(DEFAULT_ITEMS)
}

/// The position that `token` encodes.
///
/// # Errors
/// A token that was not made by this listing of this resource.
pub(super) fn position<const PARTS: usize>(
    listing: &str,
    token: Option<&str>,
) -> Result<Option<[String; PARTS]>> {
    let Some(token) = token else { return Ok(None) };
    let parts =
        PageToken::decode(listing, token).and_then(|parts| <[String; PARTS]>::try_from(parts).ok());
    parts.map(Some).ok_or_else(bad_token)
}

pub(super) fn bad_token() -> Error {
    error::invalid(
        "nextToken",
        "must be a token that this operation gave for this resource",
    )
}

/// The token for a position in a listing of images.
pub(super) fn image_token(
    listing: &str,
    repository: &Repository,
    position: &ImagePosition,
) -> String {
    PageToken::encode(
        listing,
        &[
            &repository.id.0.to_string(),
            &hex::encode(&position.digest),
            &position.tag,
        ],
    )
}

/// The position that a token of [`image_token`] encodes; the beginning without one.
pub(super) fn image_position(
    listing: &str,
    repository: &Repository,
    token: Option<&str>,
) -> Result<ImagePosition> {
    let Some([id, digest, tag]) = position(listing, token)? else {
        return Ok(ImagePosition::default());
    };
    let digest = hex::decode(digest).map_err(|_| bad_token())?;
    if id == repository.id.0.to_string() {
        Ok(ImagePosition { digest, tag })
    } else {
        Err(bad_token())
    }
}

/// The token for a position, by its last key, in a listing of something that a registry has.
pub(super) fn registry_token(listing: &str, registry: &RegistryId, last: &str) -> String {
    let parts = [registry.account.as_str(), registry.region.as_str(), last];
    PageToken::encode(listing, &parts)
}

/// The key after which the page begins, by a token of [`registry_token`]; empty without one.
pub(super) fn registry_position(
    listing: &str,
    registry: &RegistryId,
    token: Option<&str>,
) -> Result<String> {
    match position(listing, token)? {
        None => Ok(String::new()),
        Some([account, region, after])
            if account == registry.account.as_str() && region == registry.region.as_str() =>
        {
            Ok(after)
        }
        Some(_) => Err(bad_token()),
    }
}
