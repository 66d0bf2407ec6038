//! What the program says when it cannot start.

use crate::process::{run, stderr};

/// Each cause appears once in the chain that is printed.
#[test]
fn an_error_names_its_cause_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let no_tls = ["--tls-certificate", "no.crt", "--tls-key", "no.key"];
    let local = "127.0.0.1:0";
    for (listen, arguments, cause) in [
        (
            local,
            &["--config", "no.toml"][..],
            "No such file or directory",
        ),
        (local, &no_tls, "No such file or directory"),
        (local, &["--data-dir", "/dev/null/x"], "Not a directory"),
        (local, &["--key-file", "/dev/null/key"], "Not a directory"),
        ("192.0.2.1:1", &[], "Cannot assign requested address"),
    ] {
        let arguments = [&["serve", "--listen", listen], arguments].concat();
        let output = run(folder.path(), &arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let told = stderr(&output);
        assert_eq!(told.matches(cause).count(), 1, "{arguments:?}: {told}");
    }
}
