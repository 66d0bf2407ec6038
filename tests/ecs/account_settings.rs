//! Account settings.

use serde_json::{Value, json};

use super::{allow, server};
use crate::support::{ACCOUNT, Ecs};

#[tokio::test]
async fn all_settings_have_the_defaults_of_aws() {
    let (_server, ecs) = server().await;
    let (mut found, mut token) = (Vec::new(), Value::Null);
    loop {
        let request = json!({"effectiveSettings": true, "nextToken": token});
        let page = ecs.ok("ListAccountSettings", request).await;
        found.extend(page["settings"].as_array().expect("a list").clone());
        match page.get("nextToken") {
            Some(next) => token = next.clone(),
            None => break,
        }
    }
    let pairs: Vec<_> = found
        .iter()
        .map(|one| {
            (
                one["name"].as_str().expect("a name"),
                one["value"].as_str().expect("a value"),
            )
        })
        .collect();
    assert_eq!(
        pairs,
        [
            ("serviceLongArnFormat", "enabled"),
            ("taskLongArnFormat", "enabled"),
            ("containerInstanceLongArnFormat", "enabled"),
            ("awsvpcTrunking", "disabled"),
            ("containerInsights", "disabled"),
            ("fargateFIPSMode", "disabled"),
            ("tagResourceAuthorization", "on"),
            ("fargateTaskRetirementWaitPeriod", "7"),
            ("guardDutyActivate", "off"),
            ("defaultLogDriverMode", "non-blocking"),
            ("fargateEventWindows", "disabled"),
        ]
    );
    let root = format!("arn:aws:iam::{ACCOUNT}:root");
    assert!(found.iter().all(|one| one["principalArn"] == root.as_str()));
    assert_eq!(found[8]["type"], "aws_managed");
    assert_eq!(found[0]["type"], "user");
}

#[tokio::test]
async fn a_principals_own_setting_counts_before_the_accounts() {
    let (server, root) = server().await;
    let ann = Ecs::of(&server.aws_user(ACCOUNT, "ann", &allow("ecs:*", "*")));
    let ann_arn = format!("arn:aws:iam::{ACCOUNT}:user/ann");
    let insights = |value: &str| json!({"name": "containerInsights", "value": value});
    let set = root
        .ok("PutAccountSettingDefault", insights("enhanced"))
        .await;
    assert_eq!(set["setting"]["value"], "enhanced");
    let made = ann.ok("CreateCluster", json!({"clusterName": "a"})).await;
    assert_eq!(made["cluster"]["settings"][0]["value"], "enhanced");
    let set = ann.ok("PutAccountSetting", insights("enabled")).await;
    let expected = json!({"setting": {"name": "containerInsights", "value": "enabled",
        "principalArn": ann_arn, "type": "user"}});
    assert_eq!(set, expected);
    let made = ann.ok("CreateCluster", json!({"clusterName": "b"})).await;
    assert_eq!(made["cluster"]["settings"][0]["value"], "enabled");
    let own = ann.ok("ListAccountSettings", json!({})).await;
    assert_eq!(own["settings"], json!([expected["setting"]]));
    let filtered = json!({"name": "containerInsights", "value": "disabled"});
    let filtered = ann.ok("ListAccountSettings", filtered).await;
    assert_eq!(filtered, json!({"settings": []}));
    let deleted = json!({"name": "containerInsights", "principalArn": ann_arn});
    let deleted = root.ok("DeleteAccountSetting", deleted).await;
    assert_eq!(deleted, expected);
    assert_eq!(
        ann.ok("ListAccountSettings", json!({})).await["settings"],
        json!([])
    );
}

#[tokio::test]
async fn what_cannot_be_set_is_refused() {
    let (server, root) = server().await;
    let ann = Ecs::of(&server.aws_user(ACCOUNT, "ann", &allow("ecs:*", "*")));
    for (name, value, message) in [
        (
            "taskLongArnFormat",
            "disabled",
            "You can no longer disable Long Arn settings",
        ),
        (
            "guardDutyActivate",
            "on",
            "The account setting guardDutyActivate can only be read.",
        ),
        (
            "awsvpcTrunking",
            "yes",
            "awsvpcTrunking should be one of [enabled,disabled]",
        ),
        (
            "other",
            "on",
            "name should be one of [serviceLongArnFormat,",
        ),
    ] {
        let request = json!({"name": name, "value": value});
        root.refused(
            "PutAccountSetting",
            request,
            "InvalidParameterException",
            message,
        )
        .await;
    }
    let retirement = json!({"name": "fargateTaskRetirementWaitPeriod", "value": "14"});
    root.ok("PutAccountSetting", retirement.clone()).await;
    ann.refused(
        "PutAccountSetting",
        retirement,
        "InvalidParameterException",
        "root user",
    )
    .await;
    let of_another = json!({"name": "containerInsights", "value": "enabled",
        "principalArn": format!("arn:aws:iam::{ACCOUNT}:user/ben")});
    ann.refused(
        "PutAccountSetting",
        of_another.clone(),
        "AccessDeniedException",
        "Only the root",
    )
    .await;
    root.ok("PutAccountSetting", of_another).await;
    root.refused(
        "ListAccountSettings",
        json!({"value": "enabled"}),
        "InvalidParameterException",
        "An account setting name must be specified with a value.",
    )
    .await;
}
