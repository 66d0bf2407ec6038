//! Secrets Manager and the parameter store: what tasks get secrets from.

use http::StatusCode;
use serde_json::{Value, json};

use super::allow;
use crate::support::{ACCOUNT, Aws, Outcome, Setup, TestServer};

/// A client of one of the two APIs.
#[derive(Clone)]
struct Client {
    aws: Aws,
    target: &'static str,
}

impl Client {
    fn secrets(aws: &Aws) -> Self {
        Self::of(aws, "secretsmanager", "secretsmanager")
    }

    fn parameters(aws: &Aws) -> Self {
        Self::of(aws, "ssm", "AmazonSSM")
    }

    fn of(aws: &Aws, service: &str, target: &'static str) -> Self {
        let mut aws = aws.clone();
        service.clone_into(&mut aws.service);
        Self { aws, target }
    }

    async fn call(&self, operation: &str, document: Value) -> Outcome {
        let target = format!("{}.{operation}", self.target);
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target.as_str()),
        ];
        let response = self.aws.post(&headers, &document.to_string()).await;
        Outcome {
            status: response.status,
            document: serde_json::from_slice(&response.body).expect("JSON"),
        }
    }

    async fn ok(&self, operation: &str, document: Value) -> Value {
        let outcome = self.call(operation, document).await;
        assert_eq!(
            outcome.status,
            StatusCode::OK,
            "{operation}: {}",
            outcome.document
        );
        outcome.document
    }

    async fn refused(&self, operation: &str, document: Value, code: &str, message: &str) {
        let outcome = self.call(operation, document).await;
        outcome.assert_fault(code, message);
    }
}

async fn server() -> TestServer {
    TestServer::start(Setup::default()).await
}

#[tokio::test]
async fn a_secret_has_a_current_and_a_previous_value() {
    let server = server().await;
    let secrets = Client::secrets(&server.aws());
    let request = json!({ "Name": "prod/db", "SecretString": "one", "Description": "d",
        "Tags": [{ "Key": "team", "Value": "web" }] });
    let made = secrets.ok("CreateSecret", request).await;
    let arn = made["ARN"].as_str().expect("an ARN").to_owned();
    let start = format!("arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:prod/db-");
    assert_eq!(arn.strip_prefix(&start).map(str::len), Some(6), "{arn}");
    assert_eq!(made["Name"], "prod/db");

    let put = json!({ "SecretId": arn, "SecretString": "two" });
    let put = secrets.ok("PutSecretValue", put).await;
    assert_eq!(put["VersionStages"], json!(["AWSCURRENT"]));
    let partial = arn[..arn.len() - 7].to_owned();
    for id in ["prod/db".to_owned(), arn.clone(), partial] {
        let read = secrets
            .ok("GetSecretValue", json!({ "SecretId": id }))
            .await;
        assert_eq!(read["SecretString"], "two");
        assert_eq!(read["ARN"], arn.as_str());
        let old = json!({ "SecretId": id, "VersionStage": "AWSPREVIOUS" });
        let old = secrets.ok("GetSecretValue", old).await;
        assert_eq!(
            (&old["SecretString"], &old["VersionId"]),
            (&json!("one"), &made["VersionId"])
        );
    }
    let described = secrets
        .ok("DescribeSecret", json!({ "SecretId": "prod/db" }))
        .await;
    assert_eq!(described["Description"], "d");
    assert_eq!(
        described["Tags"],
        json!([{ "Key": "team", "Value": "web" }])
    );
    let policy = secrets
        .ok("GetResourcePolicy", json!({ "SecretId": "prod/db" }))
        .await;
    assert_eq!(policy, json!({ "ARN": arn, "Name": "prod/db" }));
    let named = json!({ "SecretId": "prod/db", "PolicyName": "other" });
    let named = secrets.call("GetResourcePolicy", named).await;
    named.assert_fault("ResourceNotFoundException", "other");
    let stages = described["VersionIdsToStages"].as_object().expect("a map");
    assert_eq!(stages.len(), 2);

    let binary = json!({ "SecretId": "prod/db", "SecretBinary": "AAEC" });
    secrets.ok("UpdateSecret", binary).await;
    let read = secrets
        .ok("GetSecretValue", json!({ "SecretId": "prod/db" }))
        .await;
    assert_eq!(
        (&read["SecretBinary"], read.get("SecretString")),
        (&json!("AAEC"), None)
    );
    let all = json!({ "SecretId": "prod/db", "IncludeDeprecated": true });
    let all = secrets.ok("ListSecretVersionIds", all).await;
    assert_eq!(all["Versions"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn what_is_wrong_with_secrets_has_the_words_of_aws() {
    let server = server().await;
    let secrets = Client::secrets(&server.aws());
    secrets.ok("CreateSecret", json!({ "Name": "db" })).await;
    let missing = "ResourceNotFoundException";
    for (operation, request, code, message) in [
        (
            "GetSecretValue",
            json!({ "SecretId": "none" }),
            missing,
            "Secrets Manager can't find the specified secret.",
        ),
        (
            "GetSecretValue",
            json!({ "SecretId": "db" }),
            missing,
            "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
        ),
        (
            "CreateSecret",
            json!({ "Name": "db" }),
            "ResourceExistsException",
            "The operation failed because the secret db already exists.",
        ),
        (
            "CreateSecret",
            json!({ "Name": "a b" }),
            "InvalidParameterException",
            "Invalid name.",
        ),
        (
            "PutSecretValue",
            json!({ "SecretId": "db" }),
            "InvalidParameterException",
            "You must provide either SecretString or SecretBinary.",
        ),
        (
            "DeleteSecret",
            json!({ "SecretId": "db", "RecoveryWindowInDays": 3 }),
            "InvalidParameterException",
            "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).",
        ),
    ] {
        secrets.refused(operation, request, code, message).await;
    }
    secrets
        .ok("DeleteSecret", json!({ "SecretId": "db" }))
        .await;
    let marked = "marked for deletion";
    let code = "InvalidRequestException";
    secrets
        .refused("GetSecretValue", json!({ "SecretId": "db" }), code, marked)
        .await;
    let listed = secrets.ok("ListSecrets", json!({})).await;
    assert_eq!(listed["SecretList"], json!([]));
    let planned = secrets
        .ok("ListSecrets", json!({ "IncludePlannedDeletion": true }))
        .await;
    assert_eq!(planned["SecretList"][0]["Name"], "db");
    secrets
        .ok("RestoreSecret", json!({ "SecretId": "db" }))
        .await;
    let now = json!({ "SecretId": "db", "ForceDeleteWithoutRecovery": true });
    secrets.ok("DeleteSecret", now).await;
    secrets.ok("CreateSecret", json!({ "Name": "db" })).await;
}

#[tokio::test]
async fn secrets_are_listed_in_pages_and_by_filters() {
    let server = server().await;
    let secrets = Client::secrets(&server.aws());
    for name in ["web/a", "web/b", "api/a"] {
        secrets.ok("CreateSecret", json!({ "Name": name })).await;
    }
    let mut request = json!({ "MaxResults": 1,
        "Filters": [{ "Key": "name", "Values": ["web/"] }] });
    let mut names = Vec::new();
    loop {
        let page = secrets.ok("ListSecrets", request.clone()).await;
        let list = page["SecretList"].as_array().expect("a list");
        names.extend(
            list.iter()
                .map(|one| one["Name"].as_str().expect("a name").to_owned()),
        );
        match page.get("NextToken") {
            Some(token) => request["NextToken"] = token.clone(),
            None => break,
        }
    }
    names.sort_unstable();
    assert_eq!(names, ["web/a", "web/b"]);
}

#[tokio::test]
async fn parameters_have_versions_and_types() {
    let server = server().await;
    let parameters = Client::parameters(&server.aws());
    let put = json!({ "Name": "/app/key", "Value": "one", "Type": "SecureString" });
    let put = parameters.ok("PutParameter", put).await;
    assert_eq!(put, json!({ "Version": 1, "Tier": "Standard" }));
    let again = json!({ "Name": "/app/key", "Value": "two" });
    let message = "The parameter already exists.";
    parameters
        .refused(
            "PutParameter",
            again.clone(),
            "ParameterAlreadyExists",
            message,
        )
        .await;
    let mut over = again;
    over["Overwrite"] = true.into();
    assert_eq!(parameters.ok("PutParameter", over).await["Version"], 2);

    let clear = json!({ "Name": "/app/key", "WithDecryption": true });
    let found = parameters.ok("GetParameter", clear).await;
    let found = &found["Parameter"];
    assert_eq!(
        (&found["Value"], &found["Version"]),
        (&json!("two"), &json!(2))
    );
    assert_eq!(
        found["ARN"],
        format!("arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/app/key")
    );
    let sealed = parameters
        .ok("GetParameter", json!({ "Name": "/app/key" }))
        .await;
    assert_ne!(sealed["Parameter"]["Value"], "two");
    let old = json!({ "Name": "/app/key:1", "WithDecryption": true });
    let old = parameters.ok("GetParameter", old).await;
    assert_eq!(old["Parameter"]["Value"], "one");
    assert_eq!(old["Parameter"]["Selector"], ":1");

    let names = json!({ "Names": ["/app/key", "/none", found["ARN"]], "WithDecryption": true });
    let several = parameters.ok("GetParameters", names).await;
    assert_eq!(several["Parameters"].as_array().map(Vec::len), Some(2));
    assert_eq!(several["InvalidParameters"], json!(["/none"]));
    let history = json!({ "Name": "/app/key", "WithDecryption": true });
    let history = parameters.ok("GetParameterHistory", history).await;
    assert_eq!(history["Parameters"][0]["Value"], "one");
    assert_eq!(history["Parameters"][1]["Version"], 2);

    let deleted = json!({ "Names": ["/app/key", "/none"] });
    let deleted = parameters.ok("DeleteParameters", deleted).await;
    assert_eq!(
        deleted,
        json!({ "DeletedParameters": ["/app/key"], "InvalidParameters": ["/none"] })
    );
    for (operation, code) in [
        ("GetParameter", "ParameterNotFound"),
        ("DeleteParameter", "ParameterNotFound"),
        ("GetParameterHistory", "ParameterNotFound"),
    ] {
        let request = json!({ "Name": "/app/key" });
        parameters
            .refused(operation, request, code, "/app/key")
            .await;
    }
    let untyped = json!({ "Name": "x", "Value": "v" });
    let message = "A parameter type is required when you create a parameter.";
    parameters
        .refused("PutParameter", untyped, "ValidationException", message)
        .await;
}

#[tokio::test]
async fn parameters_are_listed_by_path_and_described() {
    let server = server().await;
    let parameters = Client::parameters(&server.aws());
    for name in ["/app/a", "/app/b", "/app/sub/c", "/apple", "flat"] {
        let put = json!({ "Name": name, "Value": name, "Type": "String" });
        parameters.ok("PutParameter", put).await;
    }
    let all = async |operation: &str, request: Value| {
        let (mut request, mut names) = (request, Vec::new());
        request["MaxResults"] = 1.into();
        loop {
            let page = parameters.ok(operation, request.clone()).await;
            let list = page["Parameters"].as_array().expect("a list").clone();
            names.extend(
                list.iter()
                    .map(|one| one["Name"].as_str().expect("a name").to_owned()),
            );
            match page.get("NextToken") {
                Some(token) => request["NextToken"] = token.clone(),
                None => return names,
            }
        }
    };
    let path = json!({ "Path": "/app" });
    assert_eq!(all("GetParametersByPath", path).await, ["/app/a", "/app/b"]);
    let path = json!({ "Path": "/app/", "Recursive": true });
    assert_eq!(
        all("GetParametersByPath", path).await,
        ["/app/a", "/app/b", "/app/sub/c"]
    );
    assert_eq!(all("DescribeParameters", json!({})).await.len(), 5);
    let filter = json!({ "ParameterFilters": [
        { "Key": "Name", "Option": "BeginsWith", "Values": ["/app"] } ] });
    assert_eq!(all("DescribeParameters", filter).await.len(), 4);
    let filter = json!({ "ParameterFilters": [{ "Key": "Path", "Values": ["/app"] }] });
    assert_eq!(
        all("DescribeParameters", filter).await,
        ["/app/a", "/app/b"]
    );
    let relative = json!({ "Path": "app" });
    let code = "ValidationException";
    parameters
        .refused("GetParametersByPath", relative, code, "must begin with")
        .await;

    let resource = json!({ "ResourceType": "Parameter", "ResourceId": "/app/a" });
    let mut tag = resource.clone();
    tag["Tags"] = json!([{ "Key": "team", "Value": "web" }]);
    parameters.ok("AddTagsToResource", tag.clone()).await;
    let tags = parameters.ok("ListTagsForResource", resource).await;
    assert_eq!(tags["TagList"], tag["Tags"]);
    let filter = json!({ "ParameterFilters": [{ "Key": "tag:team", "Values": ["web"] }] });
    assert_eq!(all("DescribeParameters", filter).await, ["/app/a"]);
}

#[tokio::test]
async fn policies_name_secrets_and_parameters() {
    let server = server().await;
    let root = server.aws();
    let (secrets, parameters) = (Client::secrets(&root), Client::parameters(&root));
    for name in ["web", "api"] {
        secrets
            .ok("CreateSecret", json!({ "Name": name, "SecretString": "v" }))
            .await;
        let put = json!({ "Name": format!("/{name}/key"), "Value": "v", "Type": "String" });
        parameters.ok("PutParameter", put).await;
    }
    let secret = format!("arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:web-??????");
    let ann = server.aws_user(
        ACCOUNT,
        "ann",
        &allow("secretsmanager:GetSecretValue", &secret),
    );
    let ann = Client::secrets(&ann);
    ann.ok("GetSecretValue", json!({ "SecretId": "web" })).await;
    for denied in ["api", "none"] {
        let outcome = ann
            .call("GetSecretValue", json!({ "SecretId": denied }))
            .await;
        outcome.assert_fault("AccessDeniedException", "secretsmanager:GetSecretValue");
    }
    let parameter = format!("arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/web/*");
    let ben = server.aws_user(ACCOUNT, "ben", &allow("ssm:GetParameter*", &parameter));
    let ben = Client::parameters(&ben);
    ben.ok("GetParameter", json!({ "Name": "/web/key" })).await;
    let both = json!({ "Names": ["/web/key", "/api/key"] });
    let outcome = ben.call("GetParameters", both).await;
    outcome.assert_fault("AccessDeniedException", "ssm:GetParameters");
    let outcome = ben
        .call("PutParameter", json!({ "Name": "/web/key", "Value": "w" }))
        .await;
    outcome.assert_fault("AccessDeniedException", "ssm:PutParameter");
}
