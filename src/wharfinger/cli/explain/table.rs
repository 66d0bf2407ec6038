//! Explanations of placement as a table.

use serde_json::{Value, json};
use wharfinger_orchestrator::ExplainedPlacement;
use wharfinger_orchestrator::placement::Refusal;

use crate::cli::output;

/// The columns, in the order of their lines.
const COLUMNS: [&str; 7] = [
    "INSTANCE",
    "ZONE",
    "STATUS",
    "CPU",
    "MEMORY",
    "TASKS",
    "REASONS AGAINST",
];

/// An explanation to be shown.
pub(super) struct Table<'a>(&'a ExplainedPlacement);

impl<'a> Table<'a> {
    pub(super) fn of(explained: &'a ExplainedPlacement) -> Self {
        Self(explained)
    }

    /// A line for each instance, what is needed above and what is chosen below.
    pub(super) fn text(&self) -> String {
        let mut text = self.needed() + "\n\n" + &output::aligned(&self.rows()) + "\n";
        if self.0.chosen.is_empty() {
            text.push_str(if self.0.instances.is_empty() {
                "No Container Instances were found in your cluster.\n"
            } else {
                "No container instance meets all requirements.\n"
            });
        }
        let chosen = self.0.chosen.iter();
        text.extend(chosen.map(|id| format!("A task would be placed on {}.\n", id.0)));
        text
    }

    fn needed(&self) -> String {
        let reservation = &self.0.needs.reservation;
        let tcp = reservation.tcp_ports.iter();
        let udp = reservation.udp_ports.iter();
        let ports = tcp
            .map(|port| format!("{port}/tcp"))
            .chain(udp.map(|port| format!("{port}/udp")));
        let ports = ports.collect::<Vec<_>>().join(", ");
        let ports = if ports.is_empty() {
            ports
        } else {
            format!(", and the ports {ports}")
        };
        format!(
            "A task of {} needs {} CPU units and {} MiB{ports}.",
            self.0.needs.group, reservation.cpu, reservation.memory_mib
        )
    }

    fn rows(&self) -> Vec<[String; COLUMNS.len()]> {
        let instances = self.0.instances.iter().map(|one| {
            let reasons: Vec<&str> = one.refusals.iter().map(|why| why.reason()).collect();
            let reasons = reasons.join(", ");
            [
                one.id.0.clone(),
                one.zone.clone().unwrap_or_else(|| "-".to_owned()),
                one.status.to_string(),
                one.remaining.cpu.to_string(),
                one.remaining.memory_mib.to_string(),
                one.tasks_of_group.to_string(),
                if reasons.is_empty() {
                    "-".to_owned()
                } else {
                    reasons
                },
            ]
        });
        let header = COLUMNS.map(str::to_owned);
        std::iter::once(header).chain(instances).collect()
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        let instances = self.0.instances.iter().map(|one| {
            let reasons: Vec<&str> = one.refusals.iter().copied().map(Refusal::reason).collect();
            json!({
                "instance": one.id.0,
                "availabilityZone": one.zone,
                "status": one.status,
                "agentConnected": one.agent_connected,
                "remainingCpu": one.remaining.cpu,
                "remainingMemory": one.remaining.memory_mib,
                "tasksOfGroup": one.tasks_of_group,
                "reasons": reasons,
            })
        });
        let chosen: Vec<&str> = self.0.chosen.iter().map(|id| id.0.as_str()).collect();
        let document = json!({
            "instances": instances.collect::<Vec<Value>>(),
            "chosen": chosen,
        });
        serde_json::to_string_pretty(&document).map(|text| text + "\n")
    }
}
