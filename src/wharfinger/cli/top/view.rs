//! What is shown, and how keys change it. PURE.

use crate::cli::top::snapshot::{Service, ServiceEvent, Snapshot};

/// The lists of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Services,
    Instances,
    Events,
}

impl Pane {
    pub(super) const ALL: [Self; 3] = [Self::Services, Self::Instances, Self::Events];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Services => "Services",
            Self::Instances => "Container instances",
            Self::Events => "Events",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Services => Self::Instances,
            Self::Instances => Self::Events,
            Self::Events => Self::Services,
        }
    }
}

/// What the user requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Up,
    Down,
    PreviousCluster,
    NextCluster,
    NextPane,
    Look,
    End,
}

/// What follows from an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Stay,
    /// Look at the server now.
    Look,
    End,
}

/// The state of the screen.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) snapshot: Snapshot,
    /// Why the last look failed; the snapshot is then an older one.
    pub(super) error: Option<String>,
    pub(super) pane: Pane,
    /// The marked row of the pane.
    pub(super) row: usize,
    /// The cluster that the user chose.
    cluster: Option<String>,
}

impl View {
    pub(super) fn new(cluster: Option<String>) -> Self {
        Self {
            snapshot: Snapshot::default(),
            error: None,
            pane: Pane::Services,
            row: 0,
            cluster,
        }
    }

    /// The cluster to look at in full; `None` for the first one.
    pub(super) fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// Takes the result of a look.
    pub(super) fn take(&mut self, snapshot: Result<Snapshot, String>) {
        match snapshot {
            Ok(snapshot) => {
                self.snapshot = snapshot;
                self.error = None;
            }
            Err(error) => self.error = Some(error),
        }
        self.row = self.row.min(self.rows().saturating_sub(1));
    }

    pub(super) fn apply(&mut self, action: Action) -> Outcome {
        match action {
            Action::End => return Outcome::End,
            Action::Look => return Outcome::Look,
            Action::Up => self.row = self.row.saturating_sub(1),
            Action::Down => self.row = (self.row + 1).min(self.rows().saturating_sub(1)),
            Action::NextPane => {
                self.pane = self.pane.next();
                self.row = 0;
            }
            Action::NextCluster => return self.step_cluster(1),
            Action::PreviousCluster => return self.step_cluster(-1),
        }
        Outcome::Stay
    }

    /// The events of all services, newest first, each with the service's name.
    pub(super) fn events(&self) -> Vec<(&Service, &ServiceEvent)> {
        let services = self.snapshot.services.iter();
        let mut events: Vec<_> = services
            .flat_map(|service| service.events.iter().map(move |event| (service, event)))
            .collect();
        events.sort_by(|(_, left), (_, right)| right.created_at.total_cmp(&left.created_at));
        events
    }

    /// Rows of the pane.
    pub(super) fn rows(&self) -> usize {
        match self.pane {
            Pane::Services => self.snapshot.services.len(),
            Pane::Instances => self.snapshot.instances.len(),
            Pane::Events => self.events().len(),
        }
    }

    fn step_cluster(&mut self, step: isize) -> Outcome {
        let names: Vec<&str> = self
            .snapshot
            .clusters
            .iter()
            .map(|cluster| cluster.name.as_str())
            .collect();
        let shown = self.snapshot.cluster.as_deref();
        let Some(at) = names.iter().position(|name| Some(*name) == shown) else {
            return Outcome::Stay;
        };
        let next = at.checked_add_signed(step).and_then(|next| names.get(next));
        let Some(next) = next else {
            return Outcome::Stay;
        };
        self.cluster = Some((*next).to_owned());
        self.row = 0;
        Outcome::Look
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::{Cluster, Instance};
    use super::*;

    fn view() -> View {
        let cluster = |name: &str| Cluster {
            name: name.to_owned(),
            ..Cluster::default()
        };
        let service = |name: &str, at: f64| Service {
            name: name.to_owned(),
            events: vec![ServiceEvent {
                created_at: at,
                message: format!("(service {name})"),
            }],
            ..Service::default()
        };
        let mut view = View::new(None);
        view.take(Ok(Snapshot {
            clusters: vec![cluster("a"), cluster("b")],
            cluster: Some("a".to_owned()),
            services: vec![service("x", 1.0), service("y", 3.0), service("z", 2.0)],
            instances: vec![Instance::default()],
        }));
        view
    }

    #[test]
    fn rows_stay_within_the_list() {
        let mut view = view();
        view.apply(Action::Up);
        assert_eq!(view.row, 0);
        for _ in 0..5 {
            view.apply(Action::Down);
        }
        assert_eq!(view.row, 2);
        view.apply(Action::NextPane);
        assert_eq!((view.pane, view.row), (Pane::Instances, 0));
        view.apply(Action::Down);
        assert_eq!(view.row, 0);
        view.apply(Action::NextPane);
        view.apply(Action::Down);
        view.take(Ok(Snapshot::default()));
        assert_eq!(view.row, 0);
    }

    #[test]
    fn clusters_change_within_the_list_and_are_looked_at_at_once() {
        let mut view = view();
        assert_eq!(view.apply(Action::PreviousCluster), Outcome::Stay);
        assert_eq!(view.apply(Action::NextCluster), Outcome::Look);
        assert_eq!(view.cluster(), Some("b"));
        assert_eq!(view.apply(Action::End), Outcome::End);
    }

    #[test]
    fn events_are_newest_first_and_a_failed_look_keeps_them() {
        let mut view = view();
        let names = |view: &View| -> Vec<String> {
            view.events()
                .iter()
                .map(|(service, _)| service.name.clone())
                .collect()
        };
        assert_eq!(names(&view), ["y", "z", "x"]);
        view.take(Err("the server cannot be reached".to_owned()));
        assert_eq!(names(&view), ["y", "z", "x"]);
        assert!(view.error.is_some());
    }
}
