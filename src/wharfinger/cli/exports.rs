//! PURE: the lines for a shell that point AWS tools at this server.

use wharfinger_aws::Region;
use wharfinger_base::Secret;

/// Shell lines to paste or to `eval`. All values are of letters, digits and `+/=-.:`, so nothing
/// needs quoting.
pub(super) fn lines(
    endpoint: &str,
    access_key_id: &str,
    secret: &Secret<String>,
    region: &Region,
) -> String {
    format!(
        "export AWS_ENDPOINT_URL={endpoint}\n\
         export AWS_ACCESS_KEY_ID={access_key_id}\n\
         export AWS_SECRET_ACCESS_KEY={}\n\
         export AWS_DEFAULT_REGION={region}\n",
        secret.reveal()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_name_endpoint_key_and_region() {
        let lines = lines(
            "http://localhost:4566",
            "AKIAX",
            &Secret::new("s/+=".into()),
            &"us-east-1".parse().expect("a region"),
        );
        assert_eq!(
            lines,
            "export AWS_ENDPOINT_URL=http://localhost:4566\n\
             export AWS_ACCESS_KEY_ID=AKIAX\n\
             export AWS_SECRET_ACCESS_KEY=s/+=\n\
             export AWS_DEFAULT_REGION=us-east-1\n"
        );
    }
}
