//! Whether an engine runs on the host of the agent.

/// Whether an engine is reached by the path of a socket.
pub(super) fn has_socket(host: &str) -> bool {
    host.starts_with("unix://")
}

/// Whether the engine has the host name and the kernel that the agent has: a socket may lead into a
/// virtual machine, as that of Docker Desktop does, or into a container, whose processes have other
/// numbers here.
pub(super) async fn is_this_host(name: Option<&str>, kernel: Option<&str>) -> bool {
    let own = async |what: &str| {
        let path = format!("/proc/sys/kernel/{what}");
        let text = tokio::fs::read_to_string(path).await.ok()?;
        Some(text.trim().to_owned())
    };
    let same =
        own("hostname").await.as_deref() == name && own("osrelease").await.as_deref() == kernel;
    if !same {
        tracing::warn!(
            engine = name,
            kernel,
            "the container engine runs on another host: tasks get no network of their own, and no \
             credentials or metadata"
        );
    }
    same
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::docker::DEFAULT_HOST;

    #[test]
    fn engines_that_are_reached_by_a_port_may_be_anywhere() {
        assert!(has_socket(DEFAULT_HOST) && has_socket("unix:///run/podman.sock"));
        for host in ["tcp://127.0.0.1:2375", "http://docker:2375", "ssh://host"] {
            assert!(!has_socket(host), "{host}");
        }
    }

    #[tokio::test]
    async fn an_engine_in_a_virtual_machine_is_on_another_host() {
        let own = |what: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/kernel/{what}"));
            Some(text.expect("it is there").trim().to_owned())
        };
        let (name, kernel) = (own("hostname"), own("osrelease"));
        let (name, kernel) = (name.as_deref(), kernel.as_deref());
        assert!(is_this_host(name, kernel).await);
        assert!(!is_this_host(Some("docker-desktop"), kernel).await);
        assert!(!is_this_host(name, Some("6.6.0-linuxkit")).await);
        assert!(!is_this_host(None, None).await);
    }
}
