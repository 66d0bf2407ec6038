//! OIDC identity providers: whose web-identity tokens may assume roles of an account.
//!
//! Source: IAM API reference, `CreateOpenIDConnectProvider` and the operations beside it; IAM user
//! guide, "IAM and AWS STS quotas".

use wharfinger_aws::{AccountId, Arn};
use wharfinger_base::{Clock, Timestamp};
use wharfinger_db::Tx;

use crate::error::Error;
use crate::identity_db::IdentityDb;
use crate::store::oidc_providers::{self as rows, OidcProviderRow};
use crate::store::tags as tag_rows;
use crate::tags::{remove_tags, set_tags};

/// Most providers of an account, and what each may have (IAM quotas).
const MAX_PROVIDERS: usize = 100;
const MAX_CLIENT_IDS: usize = 100;
const MAX_THUMBPRINTS: usize = 5;
const TAGS_QUOTA: &str = "TagsPerOpenIdConnectProvider";

/// The start of the resource part of a provider's ARN.
const ARN_RESOURCE: &str = "oidc-provider/";

/// A registered provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcProvider {
    pub arn: Arn,
    /// With its scheme, as the claim `iss` of its tokens.
    pub url: String,
    pub created_at: Timestamp,
    /// The audiences that its tokens may be issued for.
    pub client_ids: Vec<String>,
    /// SHA-1 of certificates in hexadecimal, which count where no authority of the system signed
    /// the provider's.
    pub thumbprints: Vec<String>,
    pub tags: Vec<(String, String)>,
}

/// A provider to register.
#[derive(Clone, Debug)]
pub struct NewOidcProvider {
    pub url: String,
    pub client_ids: Vec<String>,
    pub thumbprints: Vec<String>,
    pub tags: Vec<(String, String)>,
}

/// The providers of all accounts in the index.
#[derive(Clone)]
pub struct OidcProviders {
    pub(super) db: IdentityDb,
    pub(super) clock: Clock,
    /// Whether a provider may have an `http` URL (`--dev`).
    pub(super) plain_http: bool,
}

impl OidcProviders {
    /// Registers a provider.
    ///
    /// # Errors
    /// [`Error::InvalidProviderUrl`], [`Error::InvalidThumbprint`], [`Error::ProviderExists`],
    /// [`Error::Quota`].
    pub async fn create(
        &self,
        account: AccountId,
        new: NewOidcProvider,
    ) -> Result<OidcProvider, Error> {
        let name = self.name_of(&new.url)?.to_owned();
        check_thumbprints(&new.thumbprints)?;
        let client_ids = distinct(new.client_ids);
        check_quota(
            "ClientIdsPerOpenIdConnectProvider",
            client_ids.len(),
            MAX_CLIENT_IDS,
        )?;
        let row = OidcProviderRow {
            name,
            url: new.url,
            created_at: self.clock.now(),
            client_ids,
            thumbprints: new.thumbprints,
        };
        let tags = new.tags;
        self.db
            .write(move |tx| {
                let count = rows::all(tx, account)?.len();
                check_quota("OpenIdConnectProvidersPerAccount", count + 1, MAX_PROVIDERS)?;
                if !rows::insert(tx, account, &row)? {
                    return Err(Error::ProviderExists(row.url.clone()));
                }
                let arn = arn_of(account, &row.name);
                set_tags(tx, account, arn.as_str(), &tags, TAGS_QUOTA)?;
                shown(tx, account, row.clone())
            })
            .await
    }

    /// The provider of this ARN, with its tags.
    pub async fn find(&self, account: AccountId, arn: &Arn) -> Result<Option<OidcProvider>, Error> {
        let Some(name) = name_in(account, arn).map(ToOwned::to_owned) else {
            return Ok(None);
        };
        self.db
            .read(move |tx| {
                let row = rows::find(tx, account, &name)?;
                row.map(|row| shown(tx, account, row)).transpose()
            })
            .await
    }

    /// The provider whose tokens have this issuer, without its tags.
    pub(super) async fn by_issuer(
        &self,
        account: AccountId,
        issuer: &str,
    ) -> Result<Option<OidcProvider>, Error> {
        let Ok(name) = self.name_of(issuer).map(ToOwned::to_owned) else {
            return Ok(None);
        };
        let found = self.db.get(move |tx| rows::find(tx, account, &name));
        let found = found.await?.filter(|row| row.url == issuer);
        Ok(found.map(|row| without_tags(account, row)))
    }

    /// The ARNs of the account's providers, in order.
    pub async fn list(&self, account: AccountId) -> Result<Vec<Arn>, Error> {
        let rows = self.db.read(move |tx| rows::all(tx, account)).await?;
        let arns = rows.iter().map(|row| arn_of(account, &row.name));
        Ok(arns.collect())
    }

    /// Removes a provider, or does nothing where there is none.
    pub async fn delete(&self, account: AccountId, arn: &Arn) -> Result<(), Error> {
        let Some(name) = name_in(account, arn).map(ToOwned::to_owned) else {
            return Ok(());
        };
        self.db
            .write(move |tx| {
                let arn = arn_of(account, &name);
                for (key, _) in tag_rows::of_owner(tx, account, arn.as_str())? {
                    tag_rows::delete(tx, account, arn.as_str(), &key)?;
                }
                Ok(rows::delete(tx, account, &name)?)
            })
            .await
    }

    /// Adds an audience; one that is there stays.
    ///
    /// # Errors
    /// [`Error::NoSuchProvider`], [`Error::Quota`].
    pub async fn add_client_id(
        &self,
        account: AccountId,
        arn: &Arn,
        client_id: String,
    ) -> Result<(), Error> {
        self.change(account, arn, move |row| {
            if !row.client_ids.contains(&client_id) {
                row.client_ids.push(client_id.clone());
            }
            let quota = "ClientIdsPerOpenIdConnectProvider";
            check_quota(quota, row.client_ids.len(), MAX_CLIENT_IDS)
        })
        .await
    }

    /// Removes an audience, if it is there.
    ///
    /// # Errors
    /// [`Error::NoSuchProvider`].
    pub async fn remove_client_id(
        &self,
        account: AccountId,
        arn: &Arn,
        client_id: String,
    ) -> Result<(), Error> {
        self.change(account, arn, move |row| {
            row.client_ids.retain(|known| *known != client_id);
            Ok(())
        })
        .await
    }

    /// Replaces the thumbprints.
    ///
    /// # Errors
    /// [`Error::NoSuchProvider`], [`Error::InvalidThumbprint`], [`Error::Quota`].
    pub async fn set_thumbprints(
        &self,
        account: AccountId,
        arn: &Arn,
        thumbprints: Vec<String>,
    ) -> Result<(), Error> {
        check_thumbprints(&thumbprints)?;
        self.change(account, arn, move |row| {
            row.thumbprints.clone_from(&thumbprints);
            Ok(())
        })
        .await
    }

    /// Sets tags of a provider.
    ///
    /// # Errors
    /// [`Error::NoSuchProvider`], [`Error::Quota`].
    pub async fn tag(
        &self,
        account: AccountId,
        arn: &Arn,
        tags: Vec<(String, String)>,
    ) -> Result<(), Error> {
        let (name, arn) = (named(account, arn)?, arn.clone());
        self.db
            .write(move |tx| {
                existing(tx, account, &name, &arn)?;
                set_tags(tx, account, arn.as_str(), &tags, TAGS_QUOTA)
            })
            .await
    }

    /// Removes the tags with these keys, whatever their case.
    ///
    /// # Errors
    /// [`Error::NoSuchProvider`].
    pub async fn untag(
        &self,
        account: AccountId,
        arn: &Arn,
        keys: Vec<String>,
    ) -> Result<(), Error> {
        let (name, arn) = (named(account, arn)?, arn.clone());
        self.db
            .write(move |tx| {
                existing(tx, account, &name, &arn)?;
                let keys = keys.iter().map(String::as_str);
                remove_tags(tx, account, arn.as_str(), keys)
            })
            .await
    }

    async fn change(
        &self,
        account: AccountId,
        arn: &Arn,
        work: impl Fn(&mut OidcProviderRow) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let (name, arn) = (named(account, arn)?, arn.clone());
        self.db
            .write(move |tx| {
                let mut row = existing(tx, account, &name, &arn)?;
                work(&mut row)?;
                Ok(rows::update(tx, account, &row)?)
            })
            .await
    }

    /// The URL without its scheme, which names the provider in its ARN.
    fn name_of<'u>(&self, url: &'u str) -> Result<&'u str, Error> {
        let plain = || url.strip_prefix("http://").filter(|_| self.plain_http);
        let name = url.strip_prefix("https://").or_else(plain);
        let legal = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~' | b'/' | b':')
        };
        name.filter(|name| !name.is_empty() && !name.starts_with('/') && name.bytes().all(legal))
            .ok_or_else(|| Error::InvalidProviderUrl(url.to_owned()))
    }
}

fn arn_of(account: AccountId, name: &str) -> Arn {
    let resource = format!("{ARN_RESOURCE}{name}");
    Arn::new("aws", "iam", "", account.as_str(), &resource)
}

/// The name in the ARN of a provider of the account.
fn name_in(account: AccountId, arn: &Arn) -> Option<&str> {
    let name = arn.resource().strip_prefix(ARN_RESOURCE)?;
    (*arn == arn_of(account, name)).then_some(name)
}

fn named(account: AccountId, arn: &Arn) -> Result<String, Error> {
    let name = name_in(account, arn).map(ToOwned::to_owned);
    name.ok_or_else(|| Error::NoSuchProvider(arn.to_string()))
}

fn existing(
    tx: &mut Tx<'_>,
    account: AccountId,
    name: &str,
    arn: &Arn,
) -> Result<OidcProviderRow, Error> {
    let row = rows::find(tx, account, name)?;
    row.ok_or_else(|| Error::NoSuchProvider(arn.to_string()))
}

fn shown(tx: &mut Tx<'_>, account: AccountId, row: OidcProviderRow) -> Result<OidcProvider, Error> {
    let mut provider = without_tags(account, row);
    provider.tags = tag_rows::of_owner(tx, account, provider.arn.as_str())?;
    Ok(provider)
}

fn without_tags(account: AccountId, row: OidcProviderRow) -> OidcProvider {
    OidcProvider {
        arn: arn_of(account, &row.name),
        url: row.url,
        created_at: row.created_at,
        client_ids: row.client_ids,
        thumbprints: row.thumbprints,
        tags: Vec::new(),
    }
}

fn distinct(texts: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(texts.len());
    for text in texts {
        if !kept.contains(&text) {
            kept.push(text);
        }
    }
    kept
}

fn check_quota(quota: &'static str, count: usize, limit: usize) -> Result<(), Error> {
    if count > limit {
        Err(Error::Quota { quota, limit })
    } else {
        Ok(())
    }
}

fn check_thumbprints(thumbprints: &[String]) -> Result<(), Error> {
    let is_sha1 = |text: &&String| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(wrong) = thumbprints.iter().find(|text| !is_sha1(text)) {
        return Err(Error::InvalidThumbprint(wrong.clone()));
    }
    let quota = "ThumbprintsPerOpenIdConnectProvider";
    check_quota(quota, thumbprints.len(), MAX_THUMBPRINTS)
}
