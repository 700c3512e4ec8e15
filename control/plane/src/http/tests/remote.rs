//! The API on TCP.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use weir_model::{Remote, parse};

use super::{ControlSocket, exchange, serving_all, serving_state};
use crate::http::{RemoteListener, Secured};
use crate::run::Listeners;
use crate::testing::{state_of, worker};

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

/// A client that takes only this certificate.
fn trusting(root: CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
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
    let connector = trusting(root);
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

/// The first line of the answer to a request on a connection that goes on.
async fn ask_on(stream: &mut TlsStream<TcpStream>, token: &str) -> String {
    let request =
        format!("GET /v1/nothing HTTP/1.1\r\nHost: weir\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it lives");
    let mut answer = Vec::new();
    loop {
        let read = stream.read_buf(&mut answer).await.expect("it lives");
        assert_ne!(read, 0, "it was closed");
        let text = String::from_utf8_lossy(&answer).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.split("content-length: ").nth(1).expect("a length");
        let length = length.lines().next().and_then(|length| length.parse().ok());
        if body.len() >= length.expect("a number") {
            return head.lines().next().unwrap_or_default().to_owned();
        }
    }
}

#[test]
fn a_reload_takes_another_certificate_and_token_and_what_is_wrong_changes_nothing() {
    const OTHER: &str = "fedcba9876543210fedcba9876543210";
    let dir = tempfile::tempdir().expect("a directory");
    let remote = files(dir.path());
    let root = |remote: &Remote| {
        let read = CertificateDer::from_pem_file(&remote.tls_certificate);
        read.expect("a certificate")
    };
    let old = trusting(root(&remote));
    let listener = RemoteListener::bind(Secured::read(&remote).expect("the files are good"));
    let listener = listener.expect("any port");
    let address = listener.address().expect("it is bound");
    let socket = dir.path().join("s");
    let listeners = Listeners {
        control: ControlSocket::bind(&socket, 0o600).expect("a fresh path"),
        remote: Some(listener),
        ipvs: None,
        ipvs_proc: None,
        metrics: None,
    };
    let config = dir.path().join("weir.toml");
    let text = format!(
        "[limits]\nservers = 8\n[[port]]\nname = \"wan\"\ndevice = \"net_null0\"\ntwin = false\n\
         addresses = [\"192.0.2.1/24\"]\n[control]\nstate_directory = false\n\
         listen = \"127.0.0.1:443\"\ntls_certificate = {:?}\ntls_key = {:?}\ntoken_file = {:?}\n",
        remote.tls_certificate, remote.tls_key, remote.token_file
    );
    write(&config, &text, 0o600);
    let file = parse(&text, &config.display().to_string()).expect("it is valid");
    let state = state_of(file, vec![worker(0)]);
    let client = async {
        let connect = async |connector: &TlsConnector| {
            let stream = TcpStream::connect(address).await.expect("it listens");
            let name = "localhost".try_into().expect("a name");
            connector.connect(name, stream).await
        };
        let reload = async || {
            let stream = UnixStream::connect(&socket).await.expect("it listens");
            exchange(stream, "POST /v1/reload").await
        };
        let mut held = connect(&old).await.expect("TLS");
        assert!(ask_on(&mut held, TOKEN).await.contains("404"));
        let (_, body) = reload().await;
        assert!(body.contains("\"changes\":[]"), "{body}");

        let remote = files(dir.path());
        write(&remote.token_file, OTHER, 0o600);
        let new = trusting(root(&remote));
        let (head, body) = reload().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}\n{body}");
        assert!(body.contains("another TLS certificate"), "{body}");
        assert!(body.contains("another token"), "{body}");
        // The connection goes on; who asks by the old token does not.
        assert!(ask_on(&mut held, TOKEN).await.contains("401"));
        assert!(ask_on(&mut held, OTHER).await.contains("404"));
        connect(&old).await.expect_err("it has another certificate");
        let mut later = connect(&new).await.expect("TLS");
        assert!(ask_on(&mut later, OTHER).await.contains("404"));

        files(dir.path());
        write(&remote.token_file, "short", 0o600);
        let (head, body) = reload().await;
        assert!(head.starts_with("HTTP/1.1 422"), "{head}\n{body}");
        let place = format!("control.token_file {}", remote.token_file.display());
        assert!(body.contains(&place), "{body}");
        let mut last = connect(&new).await.expect("as before");
        assert!(ask_on(&mut last, OTHER).await.contains("404"));
    };
    serving_state(client, listeners, state);
}
