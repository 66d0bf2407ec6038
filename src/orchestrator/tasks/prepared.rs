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
        let of_service = request.service.clone().zip(request.deployment.clone());
        let is_ec2 = matches!(request.launch, Launch::Providers(LaunchType::Ec2, _));
        let has_counts = matches!(request.launch, Launch::Providers(..)) && of_service.is_some();
        if is_ec2 || has_counts {
            let cluster = request.cluster.id.clone();
            let read = move |tx: &mut Tx<'_>| -> db::Result<_> {
                let may_wait = if is_ec2 {
                    let waiting = store::tasks::count_waiting(tx, &cluster, MAX_PROVISIONING)?;
                    MAX_PROVISIONING.saturating_sub(waiting)
                } else {
                    0
                };
                let counts = match &of_service {
                    Some((service, deployment)) => {
                        store::service_tasks::by_provider(tx, service, deployment)?
                    }
                    None => BTreeMap::new(),
                };
                Ok((may_wait, counts))
            };
            (prepared.may_wait, prepared.provider_counts) = db.read(read).await?;
        }
        Ok(prepared)
    }
}
