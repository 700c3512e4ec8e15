//! The API on TCP.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use weir_model::Remote;

use super::{ControlSocket, exchange, serving_all};
use crate::http::{RemoteListener, Secured};
use crate::run::Listeners;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("changed");
}

/// Valid files for TLS and token.
fn files(dir: &Path) -> Remote {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let remote = Remote {
        listen: "127.0.0.1:0".parse().expect("an address"),
        tls_certificate: dir.join("certificate.pem"),
        tls_key: dir.join("key.pem"),
        token_file: dir.join("token"),
    };
    write(&remote.tls_certificate, &made.cert.pem(), 0o644);
    write(&remote.tls_key, &made.signing_key.serialize_pem(), 0o640);
    write(&remote.token_file, &format!("{TOKEN}\n"), 0o600);
    remote
}

#[test]
fn only_who_has_the_token_is_answered_and_only_by_tls() {
    let dir = tempfile::tempdir().expect("a directory");
    let remote = files(dir.path());
    let root = CertificateDer::from_pem_file(&remote.tls_certificate).expect("a certificate");
    let secured = Secured::read(&remote).expect("the files are good");
    let listener = RemoteListener::bind(secured).expect("any port");
    let address = listener.address().expect("it is bound");
    let listeners = Listeners {
        control: ControlSocket::bind(&dir.path().join("s"), 0o600).expect("a fresh path"),
        remote: Some(listener),
        ipvs: None,
        ipvs_proc: None,
        metrics: None,
    };
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let client = async {
        let ask = async |field: &str| {
            let stream = TcpStream::connect(address).await.expect("it listens");
            let name = "localhost".try_into().expect("a name");
            let stream = connector.connect(name, stream).await.expect("TLS");
            let (head, _) = exchange(stream, &format!("GET /v1/status\n{field}")).await;
            head
        };
        let refused = [
            ask("").await,
            ask("Authorization: Basic 0123").await,
            ask("Authorization: Bearer").await,
            ask("Authorization: Bearer 0123456789abcdef0123456789abcdee").await,
            ask("Authorization: Bearer 0123456789abcdef").await,
        ];
        let taken = ask(&format!("Authorization: Bearer {TOKEN}")).await;
        let plain = TcpStream::connect(address).await.expect("it listens");
        let mut plain = tokio::io::BufReader::new(plain);
        let mut answer = Vec::new();
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let request = format!("GET /v1/status HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        let _ = plain.write_all(request.as_bytes()).await;
        let _ = plain.read_to_end(&mut answer).await;
        (refused, taken, answer)
    };
    let (refused, taken, plain) = serving_all(client, listeners);
    for head in refused {
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
        assert!(
            head.to_lowercase().contains("www-authenticate: bearer"),
            "{head}"
        );
    }
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
    assert!(!String::from_utf8_lossy(&plain).contains("HTTP/1.1 200"));
}

#[test]
fn a_file_that_is_missing_wrong_or_readable_by_others_is_told_with_its_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |spoil: &dyn Fn(&Remote), key: &str, words: &str| {
        let remote = files(dir.path());
        spoil(&remote);
        let told = Secured::read(&remote)
            .expect_err("it is spoilt")
            .to_string();
        assert!(told.starts_with(&format!("control.{key} /")), "{told}");
        assert!(told.contains(words), "{told}");
    };
    let remove = |path: &Path| std::fs::remove_file(path).expect("it was there");
    check(
        &|r| remove(&r.tls_certificate),
        "tls_certificate",
        "make it",
    );
    check(&|r| remove(&r.token_file), "token_file", "make it");
    let open = |path: &Path| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).expect("changed");
    };
    check(
        &|r| open(&r.tls_key),
        "tls_key",
        "others may use it (mode 0644); take that",
    );
    check(&|r| open(&r.token_file), "token_file", "others may use it");
    check(
        &|r| write(&r.token_file, "short\n", 0o600),
        "token_file",
        "no token",
    );
    check(
        &|r| write(&r.token_file, "", 0o600),
        "token_file",
        "no token",
    );
    check(
        &|r| write(&r.tls_key, "key", 0o600),
        "tls_key",
        "no private key",
    );
    check(
        &|r| write(&r.tls_certificate, "", 0o600),
        "tls_certificate",
        "no certificate",
    );
    let other = rcgen::generate_simple_self_signed(["x".to_owned()]).expect("made");
    let other = other.signing_key.serialize_pem();
    check(
        &|r| write(&r.tls_key, &other, 0o600),
        "tls_key",
        "give the key of the first",
    );
}
