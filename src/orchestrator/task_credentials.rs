//! Credentials of the roles of tasks: ECS assumes them for the task, if their trust policies let
//! `ecs-tasks.amazonaws.com` do so.
//!
//! Source: ECS developer guide, "Amazon ECS task IAM role" and "Amazon ECS task execution IAM
//! role".

use std::sync::Arc;
use std::time::Duration;

use wharfinger_aws::Arn;
use wharfinger_base::Clock;
use wharfinger_iam::{
    self as iam, AccessRequest, Caller, ConditionContext, EvaluationBudget, Iam, NewRoleSession,
    NewSession, PolicySet, Principal, Resource as _, TrustPolicy, evaluate,
};

use crate::model::{ClusterName, TaskId};

/// The service that assumes the roles of tasks.
const SERVICE: &str = "ecs-tasks.amazonaws.com";
const ACTION: &str = "sts:AssumeRole";

/// How long credentials of tasks hold: no role allows less, so that none refuses it.
const LIFETIME: Duration = Duration::from_hours(1);

/// Before their end by so much, credentials are renewed. The AWS SDKs request new ones in the last
/// 15 minutes, and must get others than those that they have.
pub const RENEWED_BEFORE: Duration = Duration::from_mins(25);

/// Why a task gets no credentials of a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The role does not exist, or does not trust the service. The words are ECS's own.
    #[error(
        "ECS was unable to assume the role '{0}' that was provided for this task. Please verify \
         that the role being passed has the proper trust relationship and permissions and that \
         your IAM user has permissions to pass this role."
    )]
    NotAssumable(String),
    #[error(transparent)]
    Iam(#[from] iam::Error),
}

/// Issues credentials to tasks.
#[derive(Clone)]
pub struct TaskCredentials {
    iam: Arc<Iam>,
    clock: Clock,
}

impl TaskCredentials {
    #[must_use]
    pub const fn new(iam: Arc<Iam>, clock: Clock) -> Self {
        Self { iam, clock }
    }

    /// Assumes a role for a task of the cluster, under the task's identifier as the name of the
    /// session.
    ///
    /// # Errors
    /// [`CredentialsError::NotAssumable`] where trying again does not help.
    pub async fn issue(
        &self,
        cluster: &ClusterName,
        task: &TaskId,
        role_arn: &str,
    ) -> Result<NewSession, CredentialsError> {
        let refused = || CredentialsError::NotAssumable(role_arn.to_owned());
        let arn = role_arn.parse::<Arn>().map_err(|_| refused())?;
        let sessions = self.iam.role_sessions();
        let role = sessions.role(&arn).await.map_err(|error| match error {
            iam::Error::NoSuchRole(_) => refused(),
            error => error.into(),
        })?;
        let account = cluster.home.account;
        if role.account() != account {
            return Err(refused());
        }
        let caller = Caller::new(account, Principal::Service(SERVICE.into()), Arc::default());
        let of_task = |value: String| [value];
        let keys = [
            ("sts:RoleSessionName", of_task(task.0.clone())),
            ("aws:SourceAccount", of_task(account.as_str().to_owned())),
            ("aws:SourceArn", of_task(cluster.task_arn(task).to_string())),
        ];
        let keys = keys.each_ref().map(|(key, value)| (*key, value.as_slice()));
        let (trust, budget) = (role.trust_policy(), EvaluationBudget::default());
        let request = AccessRequest {
            caller: &caller,
            action: ACTION,
            resource: role.arn(),
            resource_account: role.account(),
            context: ConditionContext {
                extra: &keys,
                now: self.clock.now(),
                secure_transport: true,
                requested_region: Some(cluster.home.region.as_str()),
                resource_tags: role.tags(),
                ..ConditionContext::default()
            },
            budget: &budget,
        };
        let policies = PolicySet {
            trust,
            ..PolicySet::of(&caller, None)
        };
        // Under `--dev`, a role trusts everybody of its account.
        if trust != TrustPolicy::NotNeeded && !evaluate(&request, &policies).is_allow() {
            return Err(refused());
        }
        let session = NewRoleSession {
            name: task.0.clone(),
            duration: Some(LIFETIME),
            ..NewRoleSession::default()
        };
        match sessions.assume(&caller, &role, session).await {
            Ok(assumed) => Ok(assumed.session),
            Err(iam::Error::NoSuchRole(_)) => Err(refused()),
            Err(error) => Err(error.into()),
        }
    }
}
