//! Environment files: objects of S3 with lines of `NAME=value`.

use http::HeaderMap;
use http::header::HeaderValue;
use url::Url;
use wharfinger_aws::sigv4;

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
        let path = arn.split_once(":s3:::").map(|(_, path)| path);
        let (bucket, key) = path
            .and_then(|path| path.split_once('/'))
            .ok_or("it is not the ARN of an object in S3")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if !key.chars().all(plain) {
            return Err("its key holds characters that are not supported".to_owned());
        }
        let region = self.client.region();
        let url = std::env::var(ENDPOINT_VARIABLE).map_or_else(
            |_| format!("https://{bucket}.s3.{region}.amazonaws.com/{key}"),
            |endpoint| format!("{}/{bucket}/{key}", endpoint.trim_end_matches('/')),
        );
        let url = Url::parse(&url).map_err(|error| error.to_string())?;
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
    use super::variables;

    #[test]
    fn a_file_has_a_variable_on_each_line() {
        let found = variables("# no\nA=1\n\nB=x=y \nwrong\n=z\n");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(found, [pair("A", "1"), pair("B", "x=y ")]);
    }
}
