//! Environment files: objects of S3 with lines of `NAME=value`.

use http::HeaderMap;
use http::header::HeaderValue;
use url::Url;
use wharfinger_aws::{ArnError, S3Object, sigv4};

use crate::aws_client::{Signing, sign};
use crate::context::Context;
use crate::keys::Keys;

/// The variable by which every AWS client learns of another S3.
const ENDPOINT_VARIABLE: &str = "AWS_ENDPOINT_URL_S3";
/// Largest file in bytes. A container's environment is smaller.
const MAX_FILE_BYTES: usize = 1024 * 1024;

impl Context {
    /// The text of an object that an ARN names: `arn:aws:s3:::bucket/key`.
    pub(super) async fn object(&self, keys: &Keys, arn: &str) -> Result<String, String> {
        let region = self.client.region();
        let endpoint = std::env::var(ENDPOINT_VARIABLE).ok();
        let url = object_url(endpoint.as_deref(), region, arn)?;
        let mut headers = HeaderMap::new();
        let hash = HeaderValue::from_str(&sigv4::body_hash(b"")).map_err(|why| why.to_string())?;
        headers.insert("x-amz-content-sha256", hash);
        let signing = Signing {
            method: "GET",
            keys,
            region,
            service: "s3",
            body: b"",
            clock: &self.clock,
        };
        sign(&mut headers, &url, &signing).map_err(|error| error.to_string())?;
        let got = self.client.get(url, headers, MAX_FILE_BYTES).await;
        let text = got.map_err(|error| error.to_string())?;
        String::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())
    }
}

/// The URL of an object: at Amazon's S3 the bucket is a part of the host's name, at other endpoints
/// of the path. No ARN can name another host.
fn object_url(endpoint: Option<&str>, region: &str, arn: &str) -> Result<Url, String> {
    let object: S3Object = arn.parse().map_err(|error: ArnError| error.to_string())?;
    let (bucket, key) = (object.bucket(), object.key());
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    let has_dots = key.split('/').any(|part| matches!(part, "." | ".."));
    if has_dots || !key.chars().all(plain) {
        return Err("its key holds characters that are not supported".to_owned());
    }
    let url = match endpoint {
        None => format!("https://{bucket}.s3.{region}.amazonaws.com/{key}"),
        Some(endpoint) => format!("{}/{bucket}/{key}", endpoint.trim_end_matches('/')),
    };
    Url::parse(&url).map_err(|error| error.to_string())
}

/// The variables of a file. Lines without `=` and those that begin with `#` say nothing.
pub(super) fn variables(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim_start);
    let pairs = lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='));
    pairs
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{object_url, variables};

    #[test]
    fn an_arn_chooses_a_bucket_and_no_host() {
        let url = |endpoint: Option<&str>, path: &str| {
            let arn = format!("arn:aws:s3:::{path}");
            object_url(endpoint, "eu-west-1", &arn).map(|url| url.to_string())
        };
        let amazons = "https://settings.s3.eu-west-1.amazonaws.com/web/prod.env";
        assert_eq!(url(None, "settings/web/prod.env").as_deref(), Ok(amazons));
        let other = Some("http://minio:9000/");
        let own = "http://minio:9000/settings/prod.env";
        assert_eq!(url(other, "settings/prod.env").as_deref(), Ok(own));
        let wrong = [
            "evil.example#/prod.env",
            "evil.example:443/prod.env",
            "evil.example?/prod.env",
            "user@evil.example/prod.env",
            "../prod.env",
            "settings/../others/prod.env",
            "settings/./prod.env",
            "settings/prod env",
            "/prod.env",
        ];
        for path in wrong {
            for endpoint in [None, other] {
                assert!(url(endpoint, path).is_err(), "{path}");
            }
        }
    }

    #[test]
    fn a_file_has_a_variable_on_each_line() {
        let found = variables("# no\nA=1\n\nB=x=y \nwrong\n=z\n");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(found, [pair("A", "1"), pair("B", "x=y ")]);
    }
}
