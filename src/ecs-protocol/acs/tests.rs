//! Frames of ACS are read as Amazon's agent writes them, and written as it reads them.

use proptest::prelude::*;

use super::*;
use crate::limits::ACS_AGENT_FRAME_BYTES;
use crate::{Container, DesiredStatus, FrameError};

fn read(frame: &str) -> Option<ServerMessage> {
    ServerMessage::from_frame(frame).expect("a frame")
}

#[test]
fn a_payload_has_the_names_of_the_protocol() {
    let container = Container {
        name: "web".to_owned(),
        image: "localhost:4566/web:1".to_owned(),
        memory: 64,
        essential: true,
        ..Container::default()
    };
    let task = Task {
        arn: "arn:task".to_owned(),
        containers: vec![container],
        ..Task::default()
    };
    let payload = PayloadMessage {
        message_id: "m".to_owned(),
        seq_num: 2,
        tasks: vec![task],
        ..PayloadMessage::default()
    };
    let message = ServerMessage::Payload(payload);
    let frame = message.to_frame().expect("JSON");
    let value: serde_json::Value = serde_json::from_str(&frame).expect("JSON");
    assert_eq!(value["type"], "PayloadMessage");
    assert_eq!(value["message"]["seqNum"], 2);
    let task = &value["message"]["tasks"][0];
    assert_eq!(task["desiredStatus"], "RUNNING");
    assert_eq!(task["containers"][0]["essential"], true);
    assert!(task.get("roleCredentials").is_none());
    assert_eq!(read(&frame), Some(message));
}

#[test]
fn secrets_are_not_in_debug_output() {
    let credentials = RoleCredentials {
        secret_access_key: "the-secret".to_owned(),
        session_token: "the-token".to_owned(),
        ..RoleCredentials::default()
    };
    let text = format!("{credentials:?}");
    assert!(!text.contains("the-secret") && !text.contains("the-token"));
}

#[test]
fn messages_of_unknown_types_are_ignored() {
    assert_eq!(read(r#"{"type":"Invented","message":{"a":[1]}}"#), None);
    assert_eq!(read(r#"{"type":"Invented"}"#), None);
}

#[test]
fn unknown_members_are_ignored_and_absent_messages_are_empty() {
    let beat = read(r#"{"type":"HeartbeatMessage","message":{"healthy":true,"new":1}}"#);
    let healthy = HeartbeatMessage {
        healthy: Some(true),
        message_id: None,
    };
    assert_eq!(beat, Some(ServerMessage::Heartbeat(healthy)));
    let empty = HeartbeatMessage::default();
    let beat = read(r#"{"type":"HeartbeatMessage"}"#);
    assert_eq!(beat, Some(ServerMessage::Heartbeat(empty)));
}

#[test]
fn frames_that_are_too_large_are_not_parsed() {
    let frame = " ".repeat(ACS_AGENT_FRAME_BYTES + 1);
    let read = AgentMessage::from_frame(&frame);
    assert!(matches!(read, Err(FrameError::TooLarge { .. })));
}

#[test]
fn a_message_that_is_not_what_it_says_names_its_type() {
    let frame = r#"{"type":"AckRequest","message":{"messageId":7}}"#;
    let error = AgentMessage::from_frame(frame).expect_err("a number is no text");
    assert!(error.to_string().contains("AckRequest"), "{error}");
}

#[test]
fn a_manifest_names_desired_states() {
    let manifest = TaskManifestMessage {
        timeline: 4,
        tasks: vec![TaskIdentifier {
            task_arn: "t".to_owned(),
            task_cluster_arn: "c".to_owned(),
            desired_status: DesiredStatus::Stopped,
        }],
        ..TaskManifestMessage::default()
    };
    let frame = ServerMessage::TaskManifest(manifest).to_frame();
    assert!(
        frame
            .expect("JSON")
            .contains(r#""desiredStatus":"STOPPED""#)
    );
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in ".{0,200}") {
        let _ = AgentMessage::from_frame(&text);
        let _ = ServerMessage::from_frame(&text);
    }

    #[test]
    fn acknowledgements_are_read_as_they_were_written(
        id in ".*",
        reason in proptest::option::of(".*"),
    ) {
        let message = AgentMessage::Nack(NackRequest {
            message_id: id,
            reason,
            ..NackRequest::default()
        });
        let frame = message.to_frame().expect("JSON");
        prop_assert_eq!(AgentMessage::from_frame(&frame).expect("a frame"), Some(message));
    }
}
