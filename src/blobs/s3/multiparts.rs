//! Lists the unfinished multipart uploads of one object (`ListMultipartUploads`, which
//! `object_store` does not offer).

use std::sync::Arc;
use std::time::Duration;

use object_store::client::{HttpClient, HttpConnector, HttpRequestBody, ReqwestConnector};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use serde::Deserialize;

use crate::config::S3Config;
use crate::error::{Error, Result};
use crate::s3::client;

/// How long the signed request may take to be sent.
const SIGNATURE_VALID: Duration = Duration::from_mins(5);

/// The bucket's unfinished multipart uploads.
pub(crate) struct MultipartUploads {
    signer: Arc<dyn Signer>,
    http: HttpClient,
}

#[derive(Deserialize)]
struct ListMultipartUploadsResult {
    #[serde(rename = "Upload", default)]
    uploads: Vec<Upload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
}

impl MultipartUploads {
    pub(crate) fn new(signer: Arc<dyn Signer>, config: &S3Config) -> Result<Self> {
        let http = ReqwestConnector::default().connect(&client::options(config))?;
        Ok(Self { signer, http })
    }

    /// The ids of the multipart uploads that would make the object at `path`, up to the 1,000 of
    /// one page: an upload session opens one, and one more for each request that was lost.
    pub(crate) async fn list(&self, path: &Path) -> Result<Vec<String>> {
        let query = SignedUrlOptions::default()
            .with_query([("uploads", String::new()), ("prefix", path.to_string())]);
        // The root of the bucket: the operation is one of the bucket, not of an object.
        let url = self
            .signer
            .signed_url_opts(http::Method::GET, &Path::default(), SIGNATURE_VALID, &query)
            .await?;
        let request = http::Request::get(url.as_str())
            .body(HttpRequestBody::empty())
            .map_err(Error::protocol)?;
        let response = self.http.execute(request).await.map_err(Error::protocol)?;
        let (parts, body) = response.into_parts();
        let text = body.bytes().await.map_err(Error::protocol)?;
        if !parts.status.is_success() {
            return Err(Error::protocol(format!(
                "ListMultipartUploads was refused with {}",
                parts.status
            )));
        }
        parse(&text, path)
    }
}

fn parse(document: &[u8], path: &Path) -> Result<Vec<String>> {
    let listing: ListMultipartUploadsResult =
        quick_xml::de::from_reader(document).map_err(Error::protocol)?;
    let uploads = listing.uploads.into_iter();
    Ok(uploads
        .filter(|upload| upload.key == path.as_ref())
        .map(|upload| upload.upload_id)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_gives_the_uploads_of_exactly_one_object() {
        let document = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>
            <ListMultipartUploadsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">
              <Bucket>b</Bucket><IsTruncated>false</IsTruncated>
              <Upload><Key>a/parts</Key><UploadId>one</UploadId><Initiated>x</Initiated></Upload>
              <Upload><Key>a/parts2</Key><UploadId>two</UploadId></Upload>
              <Upload><Key>a/parts</Key><UploadId>three</UploadId></Upload>
            </ListMultipartUploadsResult>";
        let ids = parse(document, &Path::from("a/parts")).expect("a listing");
        assert_eq!(ids, ["one", "three"]);
        let empty = b"<ListMultipartUploadsResult><Bucket>b</Bucket></ListMultipartUploadsResult>";
        assert!(parse(empty, &Path::from("a")).expect("empty").is_empty());
        assert!(parse(b"no XML", &Path::from("a")).is_err());
    }
}
