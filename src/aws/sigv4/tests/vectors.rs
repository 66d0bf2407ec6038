//! The published signature test vectors.

use super::*;

#[test]
fn targets_of_the_published_vectors() {
    let unreserved = format!("/{UNRESERVED}");
    let unreserved_query = format!("/?{UNRESERVED}={UNRESERVED}");
    for (method, target, signature) in [
        (
            "GET",
            "/",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            unreserved.as_str(),
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
        (
            "GET",
            "/ሴ",
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ),
        (
            "GET",
            "/?Param1=value1",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        ),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "GET",
            "/?Param1=value2&Param1=Value1",
            "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
        ),
        (
            "GET",
            "/?Param1=value2&Param1=value1",
            "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
        ),
        (
            "GET",
            unreserved_query.as_str(),
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        (
            "GET",
            "/?ሴ=bar",
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ),
        (
            "GET",
            "/example1/example2/../..",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "/example/..",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "/./",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "/./example",
            "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
        ),
        (
            "GET",
            "//",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "//example//",
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        (
            "GET",
            "/example space/",
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        ),
        (
            "POST",
            "/",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "POST",
            "/?Param1=value1",
            "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
        ),
    ] {
        assert_eq!(
            Sent::vector(method, target, &[], "", "host;x-amz-date", signature).verify(),
            Ok(()),
            "{method} {target}"
        );
    }
}

#[test]
fn headers_of_the_published_vectors() {
    // Left out: post-x-www-form-urlencoded-parameters, whose string to sign is not the hash of its
    // own canonical request, and get-header-value-multiline, which HTTP no longer allows (RFC
    // 9112, section 5.2).
    type Vector<'a> = (
        &'static str,
        &'a [(&'a str, &'a str)],
        &'static str,
        &'a str,
        &'a str,
    );
    let form = "application/x-www-form-urlencoded";
    let vectors: [Vector<'_>; 6] = [
        (
            "GET",
            &[
                ("my-header1", "value2"),
                ("my-header1", "value2"),
                ("my-header1", "value1"),
            ],
            "",
            "host;my-header1;x-amz-date",
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        (
            "GET",
            &[
                ("my-header1", "value4"),
                ("my-header1", "value1"),
                ("my-header1", "value3"),
                ("my-header1", "value2"),
            ],
            "",
            "host;my-header1;x-amz-date",
            "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        ),
        (
            "GET",
            &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
            "",
            "host;my-header1;my-header2;x-amz-date",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            "POST",
            &[("my-header1", "VALUE1")],
            "",
            "host;my-header1;x-amz-date",
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        ),
        (
            "POST",
            &[("x-amz-security-token", TOKEN)],
            "",
            "host;x-amz-date;x-amz-security-token",
            "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        ),
        (
            "POST",
            &[("content-type", form), ("content-length", "13")],
            "Param1=value1",
            "content-type;host;x-amz-date",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ];
    for (method, extra, body, signed, signature) in vectors {
        assert_eq!(
            Sent::vector(method, "/", extra, body, signed, signature).verify(),
            Ok(()),
            "{signature}"
        );
    }
}

/// The example of "Authenticating Requests: Using Query Parameters", whose payload is unsigned and
/// whose secret has a `/`.
#[test]
fn the_published_presigned_url() {
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let target = "\
               /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
               &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
               &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
               &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let sent = Sent::new(
        "GET",
        target,
        &[("host", "examplebucket.s3.amazonaws.com")],
        "",
    );
    let verify = |sent: &Sent, now: &str| {
        let request = Request {
            method: sent.method,
            path: &sent.path,
            query: &sent.query,
            headers: &sent.headers,
            authority: None,
            body_hash: UNSIGNED_PAYLOAD,
        };
        let claim = Claim::read(&request)?.expect("signed");
        super::tests::verify(&claim, &request, SECRET, parse_stamp(now).expect("a time"))
    };
    assert_eq!(verify(&sent, "20130524T000000Z"), Ok(()));
    assert_eq!(verify(&sent, "20130525T000000Z"), Ok(()));
    assert!(matches!(
        verify(&sent, "20130525T000001Z"),
        Err(SignatureError::Expired { .. })
    ));
    assert!(matches!(
        verify(&sent, "20130523T234459Z"),
        Err(SignatureError::NotYet { .. })
    ));
    for (from, to) in [
        ("86400", "86401"),
        ("=host", "=date"),
        ("us-east-1", "us-east-2"),
        ("/test", "/text"),
    ] {
        let forged = Sent::new(
            "GET",
            &target.replacen(from, to, 1),
            &[("host", "examplebucket.s3.amazonaws.com")],
            "",
        );
        assert!(verify(&forged, "20130524T000000Z").is_err(), "{from}");
    }
    for (from, to) in [("86400", "604801"), ("86400", "0"), ("86400", "-1")] {
        let forged = Sent::new(
            "GET",
            &target.replacen(from, to, 1),
            &[("host", "examplebucket.s3.amazonaws.com")],
            "",
        );
        assert_eq!(
            verify(&forged, "20130524T000000Z"),
            Err(SignatureError::Expires),
            "{to}"
        );
    }
    let twice = Sent::new(
        "GET",
        &format!("{target}&X-Amz-Date=20130524T000000Z"),
        &[("host", "examplebucket.s3.amazonaws.com")],
        "",
    );
    assert_eq!(
        verify(&twice, "20130524T000000Z"),
        Err(SignatureError::Parameter("X-Amz-Date"))
    );
}
