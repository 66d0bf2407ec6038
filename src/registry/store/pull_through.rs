//! Rows of `pull_through_rules` and `pull_through_tags`.

use wharfinger_aws::Arn;
use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};
use wharfinger_oci::{Digest, Manifest, Tag};

use crate::model::{RegistryId, RepositoryId};
use crate::pull_through::imported_tag::ImportedTag;
use crate::pull_through::rule::{Prefix, PullThroughRule};
use crate::pull_through::upstream_kind::UpstreamKind;
use crate::store::{digest, journal_entries, parsed, unsigned};

/// Inserts the rule; false where the registry has one with its prefix.
pub(crate) fn insert_rule(tx: &mut Tx<'_>, rule: &PullThroughRule) -> db::Result<bool> {
    let inserted = tx.execute(
        "INSERT INTO pull_through_rules (account, region, prefix, upstream_url, upstream_kind, \
         upstream_prefix, credential_arn, created_at, updated_at, custom_role_arn)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
        params![
            rule.registry.account.as_str(),
            rule.registry.region.as_str(),
            rule.prefix.as_str(),
            rule.upstream_url.as_str(),
            rule.upstream_kind.as_str(),
            rule.upstream_prefix.as_str(),
            arn_text(rule.credential.as_ref()),
            rule.created_at.as_ms(),
            rule.updated_at.as_ms(),
            arn_text(rule.custom_role.as_ref())
        ],
    )?;
    journal_entries::note_registry(tx, &rule.registry)?;
    Ok(inserted > 0)
}

/// Sets what of a rule may change.
pub(crate) fn update_rule(tx: &mut Tx<'_>, rule: &PullThroughRule) -> db::Result<()> {
    tx.execute(
        "UPDATE pull_through_rules SET credential_arn = ?1, updated_at = ?2, custom_role_arn = ?6
         WHERE account = ?3 AND region = ?4 AND prefix = ?5",
        params![
            arn_text(rule.credential.as_ref()),
            rule.updated_at.as_ms(),
            rule.registry.account.as_str(),
            rule.registry.region.as_str(),
            rule.prefix.as_str(),
            arn_text(rule.custom_role.as_ref())
        ],
    )?;
    journal_entries::note_registry(tx, &rule.registry)
}

pub(crate) fn delete_rule(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    prefix: &Prefix,
) -> db::Result<()> {
    tx.execute(
        "DELETE FROM pull_through_rules WHERE account = ?1 AND region = ?2 AND prefix = ?3",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            prefix.as_str()
        ],
    )?;
    journal_entries::note_registry(tx, registry)
}

pub(crate) fn count_rules(tx: &mut Tx<'_>, registry: &RegistryId) -> db::Result<u64> {
    let count = tx.query_optional(
        "SELECT COUNT(*) FROM pull_through_rules WHERE account = ?1 AND region = ?2",
        params![registry.account.as_str(), registry.region.as_str()],
        |row| unsigned(row.integer(0)),
    )?;
    Ok(count.unwrap_or_default())
}

/// Up to `limit` rules with prefixes after `after`, in byte order.
pub(crate) fn rules(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    after: &str,
    limit: i64,
) -> db::Result<Vec<PullThroughRule>> {
    tx.query(
        "SELECT prefix, upstream_url, upstream_kind, upstream_prefix, credential_arn, created_at, \
         updated_at, custom_role_arn
         FROM pull_through_rules
         WHERE account = ?1 AND region = ?2 AND prefix > ?3 ORDER BY prefix LIMIT ?4",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            after,
            limit
        ],
        |row| read(row, registry),
    )
}

pub(crate) fn rule(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    prefix: &Prefix,
) -> db::Result<Option<PullThroughRule>> {
    tx.query_optional(
        "SELECT prefix, upstream_url, upstream_kind, upstream_prefix, credential_arn, created_at, \
         updated_at, custom_role_arn
         FROM pull_through_rules WHERE account = ?1 AND region = ?2 AND prefix = ?3",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            prefix.as_str()
        ],
        |row| read(row, registry),
    )
}

fn read(row: &Row<'_>, registry: &RegistryId) -> db::Result<PullThroughRule> {
    let kind = UpstreamKind::of_name(row.text(2));
    Ok(PullThroughRule {
        registry: registry.clone(),
        prefix: Prefix::new(row.text(0)),
        upstream_url: row.text(1).to_owned(),
        upstream_kind: kind.ok_or_else(|| db::Error::other("a stored kind of registry"))?,
        upstream_prefix: Prefix::new(row.text(3)),
        credential: arn(row.text(4))?,
        custom_role: arn(row.text(7))?,
        created_at: Timestamp::from_ms(row.integer(5)),
        updated_at: Timestamp::from_ms(row.integer(6)),
    })
}

fn arn_text(arn: Option<&Arn>) -> &str {
    arn.map_or("", |arn| arn.as_str())
}

fn arn(text: &str) -> db::Result<Option<Arn>> {
    (!text.is_empty()).then(|| parsed(text)).transpose()
}

/// Whether tags of the repository have come from an upstream registry.
pub(crate) fn has_tags(tx: &mut Tx<'_>, repository: RepositoryId) -> db::Result<bool> {
    let any = tx.query_optional(
        "SELECT 1 FROM pull_through_tags WHERE repository_id = ?1 LIMIT 1",
        params![repository.0],
        |_| Ok(()),
    )?;
    Ok(any.is_some())
}

/// When an imported tag was looked at last, and what it named.
pub(crate) fn tag(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    tag: &Tag,
) -> db::Result<Option<ImportedTag>> {
    tx.query_optional(
        "SELECT digest, checked_at FROM pull_through_tags WHERE repository_id = ?1 AND name = ?2",
        params![repository.0, tag.as_str()],
        |row| {
            Ok(ImportedTag {
                digest: digest(row.bytes(0))?,
                checked_at: Timestamp::from_ms(row.integer(1)),
            })
        },
    )
}

/// Records what an imported tag names upstream.
pub(crate) fn put_tag(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    tag: &Tag,
    digest: &Digest,
    now: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO pull_through_tags (repository_id, name, digest, checked_at)
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT (repository_id, name)
         DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at",
        params![repository.0, tag.as_str(), digest.to_stored(), now.as_ms()],
    )?;
    Ok(())
}

/// An image of the repository that a layer is a part of, the next one after the image `after`, and
/// the size of the layer as its manifest says; no size where that says that it lies elsewhere.
pub(crate) fn image_of_layer(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    layer: &Digest,
    after: i64,
) -> db::Result<Option<(i64, Option<u64>)>> {
    let manifest = tx.query_optional(
        "SELECT m.bytes, i.media_type, i.id FROM image_references r
         JOIN images i ON i.id = r.image_id JOIN manifests m ON m.image_id = i.id
         WHERE r.repository_id = ?1 AND r.child = ?2 AND r.kind <> 'member' AND r.image_id > ?3
         ORDER BY r.image_id LIMIT 1",
        params![repository.0, layer.to_stored(), after],
        |row| {
            Ok((
                row.bytes(0).to_vec(),
                row.text(1).to_owned(),
                row.integer(2),
            ))
        },
    )?;
    let Some((bytes, media_type, image)) = manifest else {
        return Ok(None);
    };
    let manifest = Manifest::parse(&bytes, Some(&media_type));
    let manifest = manifest.map_err(|_| db::Error::other("a stored manifest"))?;
    let mut children = manifest.children.iter();
    let child = children.find(|child| child.digest == *layer && !child.external);
    Ok(Some((image, child.map(|child| child.size))))
}
