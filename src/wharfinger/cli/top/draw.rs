//! Draws a view, and prints a snapshot as text.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Table, TableState};

use crate::cli::output;
use crate::cli::top::snapshot::{Cluster, Instance, Service, Snapshot};
use crate::cli::top::view::{Pane, View};

/// Width of a bar, in characters.
const BAR_WIDTH: i64 = 10;

const HELP: &str = "q quit   ←/→ cluster   tab list   ↑/↓ row   r look now";

/// Draws the whole screen.
pub(super) fn frame(frame: &mut Frame<'_>, view: &View) {
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(clusters_height(view)),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    clusters(frame, head, view);
    match view.pane {
        Pane::Services => {
            let rows = view.snapshot.services.iter().map(service_row);
            table(frame, body, view, SERVICE_HEADER, SERVICE_WIDTHS, rows);
        }
        Pane::Instances => {
            let rows = view.snapshot.instances.iter().map(instance_row);
            table(frame, body, view, INSTANCE_HEADER, INSTANCE_WIDTHS, rows);
        }
        Pane::Events => {
            let events = view.events();
            let rows = events.iter().map(|(_, event)| {
                let row = Row::new([time(event.created_at), event.message.clone()]);
                if event.message.contains("unable") || event.message.contains("failed") {
                    row.style(Style::new().fg(Color::Yellow))
                } else {
                    row
                }
            });
            let widths = [Constraint::Length(8), Constraint::Min(20)];
            table(frame, body, view, ["TIME", "EVENT"], widths, rows);
        }
    }
    let foot_line = match &view.error {
        Some(error) => Line::styled(error.as_str(), Style::new().fg(Color::Red)),
        None => Line::from(HELP).dim(),
    };
    frame.render_widget(Paragraph::new(foot_line), foot);
}

/// Rows for the clusters, with frame and header: a third of what a small terminal has at most.
fn clusters_height(view: &View) -> u16 {
    let rows = u16::try_from(view.snapshot.clusters.len()).unwrap_or(u16::MAX);
    rows.clamp(1, 5).saturating_add(3)
}

fn clusters(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let shown = view.snapshot.cluster.as_deref();
    let names = &view.snapshot.clusters;
    let at = names
        .iter()
        .position(|cluster| Some(cluster.name.as_str()) == shown);
    let table = Table::new(names.iter().map(cluster_row), CLUSTER_WIDTHS)
        .header(header(CLUSTER_HEADER))
        .row_highlight_style(Style::new().add_modifier(Modifier::BOLD).fg(Color::Cyan))
        .block(Block::bordered().title("Clusters"));
    let mut state = TableState::new().with_selected(at);
    frame.render_stateful_widget(table, area, &mut state);
}

fn table<'a, const COLUMNS: usize>(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &View,
    titles: [&'static str; COLUMNS],
    widths: [Constraint; COLUMNS],
    rows: impl Iterator<Item = Row<'a>>,
) {
    let tabs = Pane::ALL.iter().map(|pane| {
        let title = format!(" {} ", pane.title());
        if *pane == view.pane {
            Span::styled(title, Style::new().add_modifier(Modifier::REVERSED))
        } else {
            Span::raw(title)
        }
    });
    let table = Table::new(rows, widths)
        .header(header(titles))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::bordered().title(Line::from(tabs.collect::<Vec<_>>())));
    let mut state = TableState::new().with_selected(Some(view.row));
    frame.render_stateful_widget(table, area, &mut state);
}

fn header<const COLUMNS: usize>(titles: [&'static str; COLUMNS]) -> Row<'static> {
    Row::new(titles).style(Style::new().add_modifier(Modifier::BOLD))
}

const CLUSTER_HEADER: [&str; 6] = [
    "CLUSTER",
    "STATUS",
    "SERVICES",
    "RUNNING",
    "PENDING",
    "INSTANCES",
];
const CLUSTER_WIDTHS: [Constraint; 6] = [
    Constraint::Min(16),
    Constraint::Length(10),
    Constraint::Length(9),
    Constraint::Length(9),
    Constraint::Length(9),
    Constraint::Length(9),
];

fn cluster_cells(cluster: &Cluster) -> [String; 6] {
    [
        cluster.name.clone(),
        cluster.status.clone(),
        cluster.active_services_count.to_string(),
        cluster.running_tasks_count.to_string(),
        cluster.pending_tasks_count.to_string(),
        cluster.registered_container_instances_count.to_string(),
    ]
}

fn cluster_row(cluster: &Cluster) -> Row<'static> {
    Row::new(cluster_cells(cluster))
}

const SERVICE_HEADER: [&str; 7] = [
    "SERVICE",
    "STATUS",
    "DESIRED",
    "RUNNING",
    "PENDING",
    "TASK DEFINITION",
    "DEPLOYMENT",
];
const SERVICE_WIDTHS: [Constraint; 7] = [
    Constraint::Min(16),
    Constraint::Length(9),
    Constraint::Length(8),
    Constraint::Length(8),
    Constraint::Length(8),
    Constraint::Length(24),
    Constraint::Length(32),
];

fn service_cells(service: &Service) -> [String; 7] {
    let definition = &service.task_definition;
    let definition = definition.rsplit('/').next().unwrap_or(definition);
    [
        service.name.clone(),
        service.status.clone(),
        service.desired_count.to_string(),
        service.running_count.to_string(),
        service.pending_count.to_string(),
        definition.to_owned(),
        deployment(service),
    ]
}

fn service_row(service: &Service) -> Row<'static> {
    let row = Row::new(service_cells(service));
    if service.running_count < service.desired_count {
        row.style(Style::new().fg(Color::Yellow))
    } else {
        row
    }
}

/// The state of the newest deployment: how far it is, and what failed.
fn deployment(service: &Service) -> String {
    let Some(rollout) = service.rollout() else {
        return String::new();
    };
    let failed = match rollout.failed_tasks {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let progress = format!("{}/{}", rollout.running_count, rollout.desired_count);
    format!("{} {progress}{failed}", rollout.rollout_state)
}

const INSTANCE_HEADER: [&str; 6] = [
    "INSTANCE",
    "STATUS",
    "AGENT",
    "TASKS",
    "CPU UNITS",
    "MEMORY MIB",
];
const INSTANCE_WIDTHS: [Constraint; 6] = [
    Constraint::Min(32),
    Constraint::Length(10),
    Constraint::Length(6),
    Constraint::Length(6),
    Constraint::Length(24),
    Constraint::Length(26),
];

fn instance_cells(instance: &Instance) -> [String; 6] {
    let agent = if instance.agent_connected {
        "yes"
    } else {
        "lost"
    };
    [
        instance.id().to_owned(),
        instance.status.clone(),
        agent.to_owned(),
        (instance.running_tasks_count + instance.pending_tasks_count).to_string(),
        usage(instance.used("CPU")),
        usage(instance.used("MEMORY")),
    ]
}

fn instance_row(instance: &Instance) -> Row<'static> {
    let row = Row::new(instance_cells(instance));
    if instance.agent_connected {
        row
    } else {
        row.style(Style::new().fg(Color::Red))
    }
}

/// A bar with what is used, and what there is.
fn usage((used, registered): (i64, i64)) -> String {
    let filled = if registered > 0 {
        (used * BAR_WIDTH / registered).clamp(0, BAR_WIDTH)
    } else {
        0
    };
    let part = |symbol: &str, width: i64| symbol.repeat(usize::try_from(width).unwrap_or(0));
    format!(
        "{}{} {used}/{registered}",
        part("█", filled),
        part("░", BAR_WIDTH - filled)
    )
}

/// The time of day of a moment in seconds since 1970, in UTC.
fn time(seconds: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "times of day lie far within"
    )]
    let moment = jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64);
    moment.map_or_else(
        |_| String::new(),
        |moment| moment.strftime("%H:%M:%S").to_string(),
    )
}

/// Everything as text, for `--once`.
pub(super) fn text(snapshot: &Snapshot) -> String {
    let mut text = columns(CLUSTER_HEADER, snapshot.clusters.iter().map(cluster_cells));
    if let Some(cluster) = &snapshot.cluster {
        let services = snapshot.services.iter().map(service_cells);
        let instances = snapshot.instances.iter().map(instance_cells);
        text.push_str("\nservices of ");
        text.push_str(cluster);
        text.push('\n');
        text.push_str(&columns(SERVICE_HEADER, services));
        text.push_str("\ncontainer instances of ");
        text.push_str(cluster);
        text.push('\n');
        text.push_str(&columns(INSTANCE_HEADER, instances));
    }
    text
}

fn columns<const COUNT: usize>(
    titles: [&'static str; COUNT],
    rows: impl Iterator<Item = [String; COUNT]>,
) -> String {
    let mut all = vec![titles.map(ToOwned::to_owned)];
    all.extend(rows);
    output::aligned(&all)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::snapshot::{Deployment, Resource, ServiceEvent};
    use super::super::view::Action;
    use super::*;

    fn snapshot() -> Snapshot {
        let resource = |name: &str, integer_value| Resource {
            name: name.to_owned(),
            integer_value,
        };
        Snapshot {
            clusters: vec![Cluster {
                name: "demo".to_owned(),
                status: "ACTIVE".to_owned(),
                active_services_count: 1,
                running_tasks_count: 2,
                pending_tasks_count: 1,
                registered_container_instances_count: 1,
            }],
            cluster: Some("demo".to_owned()),
            services: vec![Service {
                name: "web".to_owned(),
                status: "ACTIVE".to_owned(),
                desired_count: 3,
                running_count: 2,
                pending_count: 1,
                task_definition: "arn:aws:ecs:us-east-1:1:task-definition/web:7".to_owned(),
                deployments: vec![Deployment {
                    status: "PRIMARY".to_owned(),
                    desired_count: 3,
                    running_count: 2,
                    failed_tasks: 4,
                    rollout_state: "IN_PROGRESS".to_owned(),
                }],
                events: vec![ServiceEvent {
                    created_at: 3_661.0,
                    message: "(service web) has started 1 tasks: (task 1).".to_owned(),
                }],
            }],
            instances: vec![Instance {
                container_instance_arn: "arn:aws:ecs:us-east-1:1:container-instance/demo/0af"
                    .to_owned(),
                status: "ACTIVE".to_owned(),
                agent_connected: true,
                running_tasks_count: 2,
                pending_tasks_count: 1,
                registered_resources: vec![resource("CPU", 2048), resource("MEMORY", 4000)],
                remaining_resources: vec![resource("CPU", 1024), resource("MEMORY", 3000)],
            }],
        }
    }

    fn screen(view: &View) -> String {
        let mut terminal = Terminal::new(TestBackend::new(120, 20)).expect("a terminal");
        terminal.draw(|area| frame(area, view)).expect("a frame");
        terminal.backend().to_string()
    }

    #[test]
    fn each_list_shows_what_it_is_for() {
        let mut view = View::new(None);
        view.take(Ok(snapshot()));
        let services = screen(&view);
        for text in ["demo", "web:7", "IN_PROGRESS 2/3, 4 failed"] {
            assert!(services.contains(text), "{text} in {services}");
        }
        view.apply(Action::NextPane);
        let instances = screen(&view);
        for text in ["0af", "█████░░░░░ 1024/2048", "██░░░░░░░░ 1000/4000"]
        {
            assert!(instances.contains(text), "{text} in {instances}");
        }
        view.apply(Action::NextPane);
        let events = screen(&view);
        assert!(events.contains("01:01:01"), "{events}");
        assert!(events.contains("has started 1 tasks"), "{events}");
        view.take(Err("the server cannot be reached".to_owned()));
        assert!(screen(&view).contains("the server cannot be reached"));
    }

    #[test]
    fn a_terminal_of_one_line_does_no_harm() {
        let mut terminal = Terminal::new(TestBackend::new(1, 1)).expect("a terminal");
        let mut view = View::new(None);
        view.take(Ok(snapshot()));
        terminal.draw(|area| frame(area, &view)).expect("a frame");
    }

    #[test]
    fn text_has_aligned_columns() {
        let text = text(&snapshot());
        assert!(text.starts_with("CLUSTER  STATUS  SERVICES  RUNNING  PENDING  INSTANCES\n"));
        assert!(
            text.contains("demo     ACTIVE  1         2        1        1\n"),
            "{text}"
        );
    }
}
