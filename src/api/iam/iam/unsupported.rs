//! Operations of IAM that mean nothing on this server, which has no SAML, no MFA devices, no
//! console with passwords, no certificates and keys of other services, no organizations, no
//! properties of accounts, and no record of which services somebody used.

/// In the order of their names.
pub(super) const OPERATIONS: &[&str] = &[
    "AcceptDelegationRequest",
    "AcquireRole",
    "AssociateDelegationRequest",
    "ChangePassword",
    "CreateDelegationRequest",
    "CreateLoginProfile",
    "CreateSAMLProvider",
    "CreateServiceSpecificCredential",
    "CreateVirtualMFADevice",
    "DeactivateMFADevice",
    "DeleteAccountPasswordPolicy",
    "DeleteSAMLProvider",
    "DeleteSSHPublicKey",
    "DeleteServerCertificate",
    "DeleteServiceSpecificCredential",
    "DeleteSigningCertificate",
    "DeleteVirtualMFADevice",
    "DisableOrganizationsRootCredentialsManagement",
    "DisableOrganizationsRootSessions",
    "DisableOutboundWebIdentityFederation",
    "EnableMFADevice",
    "EnableOrganizationsRootCredentialsManagement",
    "EnableOrganizationsRootSessions",
    "EnableOutboundWebIdentityFederation",
    "GenerateOrganizationsAccessReport",
    "GenerateServiceLastAccessedDetails",
    "GetAccountPasswordPolicy",
    "GetAccountProperties",
    "GetDelegationRequest",
    "GetHumanReadableSummary",
    "GetMFADevice",
    "GetOrganizationsAccessReport",
    "GetOutboundWebIdentityFederationInfo",
    "GetRoleTemplateVersion",
    "GetSAMLProvider",
    "GetSSHPublicKey",
    "GetServerCertificate",
    "GetServiceLastAccessedDetails",
    "GetServiceLastAccessedDetailsWithEntities",
    "ListDelegationRequests",
    "ListMFADeviceTags",
    "ListOrganizationsFeatures",
    "ListPoliciesGrantingServiceAccess",
    "ListSAMLProviderTags",
    "ListSAMLProviders",
    "ListServerCertificateTags",
    "ListServerCertificates",
    "PutAccountProperties",
    "RejectDelegationRequest",
    "ResetServiceSpecificCredential",
    "ResyncMFADevice",
    "SendDelegationToken",
    "SetSecurityTokenServicePreferences",
    "TagMFADevice",
    "TagSAMLProvider",
    "TagServerCertificate",
    "UntagMFADevice",
    "UntagSAMLProvider",
    "UntagServerCertificate",
    "UpdateAccountPasswordPolicy",
    "UpdateDelegationRequest",
    "UpdateLoginProfile",
    "UpdateSAMLProvider",
    "UpdateSSHPublicKey",
    "UpdateServerCertificate",
    "UpdateServiceSpecificCredential",
    "UpdateSigningCertificate",
    "UploadSSHPublicKey",
    "UploadServerCertificate",
    "UploadSigningCertificate",
];

#[cfg(test)]
mod tests {
    use crate::iam::MODEL;

    #[test]
    fn none_of_them_is_served() {
        let served = |name: &&str| MODEL.limits.operations().any(|(known, _)| known == *name);
        assert!(!MODEL.unsupported.iter().any(served) && MODEL.unsupported.is_sorted());
    }
}
