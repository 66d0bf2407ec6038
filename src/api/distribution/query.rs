//! PURE: query parameters of `/v2/`, percent-decoded or raw as clients send them.
//!
//! A `+` stays a plus: no value here can contain a space, but media types contain pluses, and
//! hand-written requests send them raw.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use wharfinger_oci::{Algorithm, Digest, DigestError, NameError, RepositoryName, Tag};

/// The decoded parameters of one request, in the order of the query. Parameters that no endpoint
/// has (`ns`, `origin`) are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// Which parameter is invalid, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("the query is not percent-encoded UTF-8")]
    Encoding,
    #[error("parameter 'digest': {0}")]
    Digest(DigestError),
    #[error("parameter 'digest-algorithm': {0}")]
    Algorithm(DigestError),
    #[error("parameter 'mount': {0}")]
    Mount(DigestError),
    #[error("parameter 'last' was not issued by this listing")]
    Last,
    #[error("parameter 'tag': {0}")]
    Tag(NameError),
    #[error("a request has at most {max} 'tag' parameters", max = Query::MAX_TAGS)]
    TooManyTags,
    #[error("parameter 'n' must be a whole number")]
    Number,
}

impl<'a> Query<'a> {
    /// Most tags that one manifest push may set. The specification requires at least 10; each is a
    /// row written in one transaction.
    pub(crate) const MAX_TAGS: usize = 100;

    /// # Errors
    /// [`QueryError::Encoding`] where a name or value does not decode to UTF-8.
    pub(crate) fn parse(text: Option<&'a str>) -> Result<Self, QueryError> {
        let text = text.unwrap_or_default();
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// The first value given for `name`.
    #[must_use]
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_ref())
    }

    pub(crate) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_ref())
    }

    /// `digest=`: the digest of the blob that a request completes.
    pub(crate) fn digest(&self) -> Result<Option<Digest>, QueryError> {
        self.first("digest")
            .map(str::parse)
            .transpose()
            .map_err(QueryError::Digest)
    }

    /// `digest-algorithm=`: the algorithm that hashes an upload as it arrives.
    pub(crate) fn digest_algorithm(&self) -> Result<Option<Algorithm>, QueryError> {
        self.first("digest-algorithm")
            .map(str::parse)
            .transpose()
            .map_err(QueryError::Algorithm)
    }

    /// `mount=` with `from=`. A `from` that is not a repository name names no source; the
    /// specification then wants an ordinary upload rather than an error.
    pub(crate) fn mount(&self) -> Result<Option<(Digest, MountSource)>, QueryError> {
        let Some(digest) = self.first("mount") else {
            return Ok(None);
        };
        let digest = digest.parse().map_err(QueryError::Mount)?;
        let source = match self.first("from") {
            None | Some("") => MountSource::Anywhere,
            Some(name) => name
                .parse()
                .map_or(MountSource::Nowhere, MountSource::Repository),
        };
        Ok(Some((digest, source)))
    }

    /// Every `tag=` once, in the order of the query.
    pub(crate) fn tags(&self) -> Result<Vec<Tag>, QueryError> {
        let mut tags = Vec::new();
        for text in self.all("tag") {
            let tag: Tag = text.parse().map_err(QueryError::Tag)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            if tags.len() > Self::MAX_TAGS {
                return Err(QueryError::TooManyTags);
            }
        }
        Ok(tags)
    }

    /// `n=`: the most items that a page may have. A number beyond all bounds means the largest
    /// page.
    pub(crate) fn page_size(&self) -> Result<Option<usize>, QueryError> {
        let Some(text) = self.first("n") else {
            return Ok(None);
        };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(QueryError::Number);
        }
        Ok(Some(text.parse().unwrap_or(usize::MAX)))
    }

    /// `last=`: the item after which a page starts, which need not exist.
    #[must_use]
    pub(crate) fn last(&self) -> Option<&str> {
        self.first("last").filter(|last| !last.is_empty())
    }
}

/// Where a mount takes its blob from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountSource {
    Repository(RepositoryName),
    /// Without `from`: any repository that the caller may pull from.
    Anywhere,
    /// A `from` that cannot name a repository.
    Nowhere,
}

fn decode(text: &str) -> Result<Cow<'_, str>, QueryError> {
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| QueryError::Encoding)
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn values_are_encoded_or_raw() {
        let digest: Digest = DIGEST.parse().expect("a digest");
        for text in [DIGEST.to_owned(), DIGEST.replace(':', "%3A")] {
            let query = format!("ns=docker.io&mount={text}&from=cl%2Fa&x");
            let query = Query::parse(Some(&query)).expect("a query");
            let source = MountSource::Repository("cl/a".parse().expect("a name"));
            assert_eq!(query.mount(), Ok(Some((digest, source))));
            assert_eq!(query.first("x"), Some(""));
        }
        let query = Query::parse(Some("artifactType=application/a.b+json")).expect("a query");
        assert_eq!(query.first("artifactType"), Some("application/a.b+json"));
        assert_eq!(Query::parse(Some("digest=%ff")), Err(QueryError::Encoding));
    }

    #[test]
    fn tags_may_repeat_within_a_bound() {
        let query = Query::parse(Some("tag=a&tag=b&tag=a")).expect("a query");
        assert_eq!(
            query
                .tags()
                .map(|tags| tags.iter().map(Tag::to_string).collect::<Vec<_>>()),
            Ok(vec!["a".to_owned(), "b".to_owned()])
        );
        let many = (0..=Query::MAX_TAGS)
            .map(|i| format!("tag=t{i}"))
            .collect::<Vec<_>>()
            .join("&");
        assert_eq!(
            Query::parse(Some(&many)).expect("a query").tags(),
            Err(QueryError::TooManyTags)
        );
        assert_eq!(
            Query::parse(Some("tag=.x")).expect("a query").tags(),
            Err(QueryError::Tag(NameError::Tag))
        );
    }

    #[test]
    fn page_sizes_are_whole_numbers() {
        let size = |text| Query::parse(Some(text)).expect("a query").page_size();
        assert_eq!(size("n=0"), Ok(Some(0)));
        assert_eq!(size("n=00012"), Ok(Some(12)));
        assert_eq!(size("n=99999999999999999999999"), Ok(Some(usize::MAX)));
        assert_eq!(size(""), Ok(None));
        for bad in ["n=", "n=-1", "n=1.5", "n=abc", "n=+1"] {
            assert_eq!(size(bad), Err(QueryError::Number), "{bad}");
        }
    }

    #[test]
    fn a_mount_without_a_source_has_any_and_one_with_an_invalid_source_has_none() {
        let mount = |text: &str| {
            Query::parse(Some(text))
                .expect("a query")
                .mount()
                .map(|mount| mount.map(|(_, source)| source))
        };
        assert_eq!(
            mount(&format!("mount={DIGEST}")),
            Ok(Some(MountSource::Anywhere))
        );
        assert_eq!(
            mount(&format!("mount={DIGEST}&from=../x")),
            Ok(Some(MountSource::Nowhere))
        );
        assert_eq!(mount("from=aa"), Ok(None));
        assert_eq!(
            mount("mount=x&from=aa"),
            Err(QueryError::Mount(DigestError::Malformed))
        );
    }

    proptest! {
        #[test]
        fn encoded_values_are_decoded(value in "\\PC{0,40}") {
            let query = format!("last={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
            let query = Query::parse(Some(&query)).expect("a query");
            prop_assert_eq!(query.first("last"), Some(value.as_str()));
        }

        #[test]
        fn no_query_makes_it_panic(text in "\\PC{0,100}") {
            if let Ok(query) = Query::parse(Some(&text)) {
                let _ = (query.digest(), query.tags(), query.page_size());
                let _ = (query.mount(), query.digest_algorithm());
            }
        }
    }
}
