//! How agents sign in to the registry of an image.

use std::collections::BTreeSet;

use wharfinger_aws::{AccountId, Arn, Region};
use wharfinger_ecs_protocol::{AsmAuthData, EcrAuthData, RegistryAuthentication};

use crate::model::ContainerDefinition;
use crate::payload::TaskParts;

/// The registries whose images agents pull with tokens of an ECR API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registries {
    /// Hosts, with their ports, of this server. Images on them belong to the account of the task.
    pub hosts: BTreeSet<String>,
    /// Only this domain's hosts `ACCOUNT.dkr.ecr.REGION.DOMAIN` are this server's. Where there is
    /// none, those of Amazon's domain are, and those of `hosts`.
    pub domain: Option<String>,
    /// The region of images on `hosts`.
    pub region: Region,
    /// The address of this server's API, as agents reach it.
    pub endpoint: String,
}

/// An account's registry in a region.
struct Registry {
    account: AccountId,
    region: Region,
    /// Whether it is this server's, and not Amazon's.
    own: bool,
}

impl Registries {
    /// The registry of ECR that an image's name names; `None` for other registries.
    fn of_image(&self, image: &str, account: AccountId) -> Option<Registry> {
        let (host, _) = image.split_once('/')?;
        if self.hosts.contains(host) {
            let region = self.region.clone();
            return Some(Registry {
                account,
                region,
                own: true,
            });
        }
        let (account, rest) = host.split_once(".dkr.ecr.")?;
        let (region, domain) = rest.split_once('.')?;
        let amazon = ["amazonaws.com", "amazonaws.com.cn"].contains(&domain);
        // A token goes there: another port may be a container's, another domain anybody's.
        let own = match &self.domain {
            None => amazon || self.hosts.contains(domain),
            Some(own) => {
                let (name, port) = domain.split_once(':').unwrap_or((domain, ""));
                own.eq_ignore_ascii_case(name) && (port.is_empty() || self.has_port(port))
            }
        };
        if !own && !amazon {
            return None;
        }
        Some(Registry {
            account: account.parse().ok()?,
            region: region.parse().ok()?,
            own,
        })
    }

    fn has_port(&self, port: &str) -> bool {
        let mut ports = self.hosts.iter().filter_map(|host| host.rsplit_once(':'));
        ports.any(|(_, own)| own == port)
    }
}

/// How the agent signs in to pull `image`; `None` for a registry that needs no credentials.
pub(super) fn authentication(
    parts: &TaskParts<'_>,
    definition: &ContainerDefinition,
    image: &str,
    has_role: bool,
) -> Option<RegistryAuthentication> {
    if let Some(credentials) = &definition.repository_credentials {
        let parameter = &credentials.credentials_parameter;
        let arn: Option<Arn> = parameter.parse().ok();
        let region = arn
            .as_ref()
            .map(Arn::region)
            .filter(|region| !region.is_empty());
        let region = region.unwrap_or(parts.home().region.as_str());
        return Some(RegistryAuthentication {
            kind: "asm".to_owned(),
            asm_auth_data: Some(AsmAuthData {
                credentials_parameter: parameter.clone(),
                region: region.to_owned(),
            }),
            ecr_auth_data: None,
        });
    }
    let registry = parts.registries.of_image(image, parts.home().account)?;
    Some(RegistryAuthentication {
        kind: "ecr".to_owned(),
        ecr_auth_data: Some(EcrAuthData {
            registry_id: registry.account.as_str().to_owned(),
            region: registry.region.as_str().to_owned(),
            endpoint_override: registry.own.then(|| parts.registries.endpoint.clone()),
            use_execution_role: has_role,
        }),
        asm_auth_data: None,
    })
}
