//! What is set for registries, as the journal keeps it: read as a whole, and put back as a whole.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};

use crate::creation_templates::model::{CreationTemplate, key};
use crate::journal::record::{RegistryState, RuleState, TemplateState};
use crate::model::RegistryId;
use crate::pull_through::rule::{Prefix, PullThroughRule};
use crate::pull_through::upstream_kind::UpstreamKind;
use crate::store::settings_tables::{DELETIONS, NAMES_AFTER};
use crate::store::{creation_templates, journal_entries, parsed, pull_through, registry_settings};

/// Above the quotas of all kinds of rows that a registry has.
const ALL: i64 = 100_000;

/// Up to `limit` names of registries for which anything is set, after `after`.
pub(crate) fn names_after(tx: &mut Tx<'_>, after: &str, limit: i64) -> db::Result<Vec<String>> {
    tx.query(NAMES_AFTER, params![after, limit], |row| {
        Ok(row.text(0).to_owned())
    })
}

/// What is set for a registry.
pub(crate) fn state(tx: &mut Tx<'_>, registry: &RegistryId) -> db::Result<RegistryState> {
    let policy = match registry_settings::policy_id(tx, registry)? {
        Some(id) => registry_settings::policy_text(tx, id)?,
        None => None,
    };
    let templates = creation_templates::page(tx, registry, "", ALL)?;
    let rules = pull_through::rules(tx, registry, "", ALL)?;
    Ok(RegistryState {
        policy,
        settings: registry_settings::all(tx, registry)?.into_iter().collect(),
        pull_time_exclusions: registry_settings::exclusions(tx, registry, "", ALL)?,
        templates: templates.into_iter().map(template_state).collect(),
        pull_through_rules: rules.iter().map(rule_state).collect(),
    })
}

fn template_state(template: CreationTemplate) -> TemplateState {
    TemplateState {
        settings: template.settings,
        created_at: template.created_at.as_ms(),
        updated_at: template.updated_at.as_ms(),
    }
}

fn rule_state(rule: &PullThroughRule) -> RuleState {
    RuleState {
        prefix: rule.prefix.as_str().to_owned(),
        upstream_url: rule.upstream_url.clone(),
        upstream_kind: rule.upstream_kind.as_str().to_owned(),
        upstream_prefix: rule.upstream_prefix.as_str().to_owned(),
        credential: rule.credential.as_ref().map(ToString::to_string),
        custom_role: rule.custom_role.as_ref().map(ToString::to_string),
        created_at: rule.created_at.as_ms(),
        updated_at: rule.updated_at.as_ms(),
    }
}

/// Sets for a registry what the state says, in place of all that is set.
pub(crate) fn put(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    state: &RegistryState,
    now: Timestamp,
) -> db::Result<()> {
    for statement in DELETIONS {
        let (account, region) = (registry.account.as_str(), registry.region.as_str());
        tx.execute(statement, params![account, region])?;
    }
    if let Some(policy) = &state.policy {
        registry_settings::put_policy(tx, registry, policy, now)?;
    }
    for (name, value) in &state.settings {
        registry_settings::put(tx, registry, name, value, now)?;
    }
    for principal in &state.pull_time_exclusions {
        registry_settings::insert_exclusion(tx, registry, principal, now)?;
    }
    for template in &state.templates {
        let prefix = key(&template.settings.prefix).to_owned();
        let template = CreationTemplate {
            settings: template.settings.clone(),
            created_at: Timestamp::from_ms(template.created_at),
            updated_at: Timestamp::from_ms(template.updated_at),
        };
        creation_templates::put(tx, registry, &prefix, &template)?;
    }
    for rule in &state.pull_through_rules {
        pull_through::insert_rule(tx, &read_rule(registry, rule)?)?;
    }
    journal_entries::note_registry(tx, registry)
}

fn read_rule(registry: &RegistryId, rule: &RuleState) -> db::Result<PullThroughRule> {
    let kind = UpstreamKind::of_name(&rule.upstream_kind);
    Ok(PullThroughRule {
        registry: registry.clone(),
        prefix: Prefix::new(&rule.prefix),
        upstream_url: rule.upstream_url.clone(),
        upstream_kind: kind.ok_or_else(|| db::Error::other("a kind of registry"))?,
        upstream_prefix: Prefix::new(&rule.upstream_prefix),
        credential: rule.credential.as_deref().map(parsed).transpose()?,
        custom_role: rule.custom_role.as_deref().map(parsed).transpose()?,
        created_at: Timestamp::from_ms(rule.created_at),
        updated_at: Timestamp::from_ms(rule.updated_at),
    })
}
