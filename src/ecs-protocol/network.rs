//! Network interfaces of tasks in the network mode `awsvpc`.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// A network interface that the control plane made for a task.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ElasticNetworkInterface {
    pub attachment_arn: Option<String>,
    pub ec2_id: Option<String>,
    pub mac_address: Option<String>,
    pub ipv4_addresses: Option<Vec<Ipv4Address>>,
    pub ipv6_addresses: Option<Vec<Ipv6Address>>,
    pub subnet_gateway_ipv4_address: Option<String>,
    pub domain_name: Option<Vec<String>>,
    pub domain_name_servers: Option<Vec<String>>,
    pub private_dns_name: Option<String>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ipv4Address {
    pub primary: Option<bool>,
    pub private_address: Option<String>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ipv6Address {
    pub address: Option<String>,
}
