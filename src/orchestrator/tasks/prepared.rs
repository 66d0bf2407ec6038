//! What is known of a request for tasks before instances are looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use wharfinger_db::{self as db, Db, Tx};

use crate::error::{Error, Result};
use crate::model::LaunchType;
use crate::placement::{LaunchKind, Needs, Strategies};
use crate::store;
use crate::tasks::launch::Launch;
use crate::tasks::request::StartTasks;

/// Most tasks of a cluster that wait for capacity (ECS developer guide, "Amazon ECS service
/// quotas").
const MAX_PROVISIONING: usize = 500;

/// A request with what is known before instances are looked at.
pub(super) struct Prepared {
    pub(super) request: Arc<StartTasks>,
    /// Of tasks without a capacity provider, on instances of EC2.
    pub(super) needs: Needs,
    pub(super) strategies: Strategies,
    /// The tasks that the same service has of each capacity provider.
    pub(super) provider_counts: BTreeMap<String, i64>,
    /// How many tasks may begin to wait for capacity.
    pub(super) may_wait: usize,
}

impl Prepared {
    /// Prepares a request.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a constraint or strategy that is not valid.
    pub(super) async fn new(db: &Db, request: StartTasks) -> Result<Self> {
        let invalid = |why: String| Error::InvalidParameter(why);
        let needs = Needs::of(
            &request.definition.document,
            &request.overrides,
            &request.group(),
            LaunchKind::of(request.launch.launch_type(), false),
            &request.constraints,
        );
        let needs = needs.map_err(|(text, why)| {
            invalid(format!(
                "The cluster query expression '{text}' is not valid: {why}"
            ))
        })?;
        let strategies = Strategies::parse(&request.strategy);
        let mut prepared = Self {
            needs,
            strategies: strategies.map_err(|why| invalid(why.to_string()))?,
            provider_counts: BTreeMap::new(),
            may_wait: 0,
            request: Arc::new(request),
        };
        let request = Arc::clone(&prepared.request);
        if let Launch::Providers(kind, _) = &request.launch {
            let may_wait = *kind == LaunchType::Ec2;
            let cluster = request.cluster.id.clone();
            let of_service = request.service.clone().zip(request.deployment.clone());
            let read = move |tx: &mut Tx<'_>| -> db::Result<_> {
                let waiting = if may_wait {
                    store::tasks::count_waiting(tx, &cluster, MAX_PROVISIONING)?
                } else {
                    MAX_PROVISIONING
                };
                let counts = match &of_service {
                    Some((service, deployment)) => {
                        store::service_tasks::by_provider(tx, service, deployment)?
                    }
                    None => BTreeMap::new(),
                };
                Ok((waiting, counts))
            };
            let (waiting, counts) = db.read(read).await?;
            prepared.may_wait = MAX_PROVISIONING.saturating_sub(waiting);
            prepared.provider_counts = counts;
        }
        Ok(prepared)
    }
}
