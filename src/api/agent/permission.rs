//! Who connected for an instance, and whether that is still allowed: keys end and policies change
//! while a connection lasts.

use wharfinger_api_core::{AuditTrail, Authorizer, Origin};
use wharfinger_aws::Region;
use wharfinger_base::Secret;
use wharfinger_iam::{Caller, EvaluationBudget, PASSWORD_USER};
use wharfinger_orchestrator::model::{Cluster, ContainerInstance};
use wharfinger_orchestrator::registrant;

use crate::AgentState;
use crate::resource::InstanceResource;

/// The action by which a principal may act for instances that another one registered. Policies of
/// instances lack it.
const ADMINISTER: &str = "ecs:UpdateContainerAgent";

/// The permission by which a connection was opened.
pub(crate) struct Permission {
    pub(crate) action: String,
    pub(crate) origin: Origin,
    pub(crate) region: Region,
    /// A password of who connected: it ends with the key, the session or the user.
    pub(crate) password: Secret<String>,
}

impl Permission {
    /// Whether it still stands. Where identities cannot be read, it does: agents and their tasks
    /// go on while the index is away.
    pub(crate) async fn stands(
        &self,
        state: &AgentState,
        cluster: &Cluster,
        instance: &ContainerInstance,
    ) -> bool {
        let password = self.password.reveal();
        let caller = state.iam.authenticate_basic(PASSWORD_USER, password).await;
        let caller = match caller {
            Ok(caller) => caller,
            Err(error) if error.is_internal() || error.is_unavailable() => {
                tracing::warn!(%error, "the permission of an agent cannot be checked");
                return true;
            }
            Err(_) => return false,
        };
        let authorizer = Authorizer {
            caller: &caller,
            origin: &self.origin,
            region: &self.region,
            now: state.clock.now(),
            budget: &EvaluationBudget::default(),
            trail: &AuditTrail::new(false),
        };
        let resource = InstanceResource::new(&cluster.name, &instance.id, Some(instance));
        authorizer.would_allow(&self.action, &resource)
            && may_act_for(&authorizer, &resource, instance)
    }
}

/// Whether the caller registered the instance, or may administer it.
pub(crate) fn may_act_for(
    authorizer: &Authorizer<'_>,
    resource: &InstanceResource,
    instance: &ContainerInstance,
) -> bool {
    let caller: &Caller = authorizer.caller;
    instance.details.registered_by == registrant(caller)
        || authorizer.would_allow(ADMINISTER, resource)
}
