//! Handshakes and records between our own two ends, in every chunking, with wrong peers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use ambimesh_testkit::certificates::Authority;
use ambimesh_tls::{
    CertificateRequest, Handshake, KeyExchange, Session, Step, Svid, SvidError, SvidParts,
    TlsError, sealed_len,
};
use ambimesh_types::{CloseReason, Identity};
use proptest::prelude::*;

fn identity(name: &str) -> Identity {
    Identity::new("cluster.local", "demo", name)
}

fn svid_for(authority: &Authority, identity: &Identity, key_exchange: KeyExchange) -> Svid {
    let request = CertificateRequest::new(identity).unwrap();
    let leaf = authority.sign_request(request.pem()).unwrap();
    let chain = [leaf, authority.root_pem().to_owned()];
    let (identity, key) = (identity.clone(), request.into_key());
    Svid::new(SvidParts {
        identity,
        chain: &chain,
        key,
        key_exchange,
    })
    .unwrap()
}

fn svid(authority: &Authority, name: &str) -> Svid {
    svid_for(authority, &identity(name), KeyExchange::ClassicalFirst)
}

fn expect(names: &[&str]) -> Arc<[Identity]> {
    names.iter().map(|name| identity(name)).collect()
}

/// Both ends of a handshake; the chunk that each feeds the other is `chunk` bytes.
fn shake(client: &Svid, server: &Svid, expected: &[&str], chunk: usize) -> Outcome {
    let config = client.client_config(&expect(expected)).unwrap();
    let mut ends = [
        Handshake::client(config).unwrap(),
        Handshake::server(server.server_config()).unwrap(),
    ];
    let mut steps = [Ok(Step::Blocked), Ok(Step::Blocked)];
    let mut wires = [Vec::new(), Vec::new()];
    steps[0] = ends[0].advance(&[], &mut wires[0]);
    while !(wires[0].is_empty() && wires[1].is_empty()) {
        for from in [0, 1] {
            let to = 1 - from;
            let flight = std::mem::take(&mut wires[from]);
            for piece in flight.chunks(chunk) {
                if steps[to].is_ok() {
                    steps[to] = ends[to].advance(piece, &mut wires[to]);
                }
            }
        }
    }
    let [client, server] = steps;
    let [client_end, server_end] = ends;
    Outcome {
        client: client.map(|_| client_end),
        server: server.map(|_| server_end),
    }
}

struct Outcome {
    client: Result<Handshake, TlsError>,
    server: Result<Handshake, TlsError>,
}

impl Outcome {
    fn sessions(self) -> (Session, Session) {
        (
            self.client.unwrap().finish().unwrap(),
            self.server.unwrap().finish().unwrap(),
        )
    }
}

/// Seals at one end and opens at the other, fed in pieces as a socket would give them.
fn carry(from: &mut Session, to: &mut Session, plain: &[u8], chunk: usize) -> Vec<u8> {
    let mut sealed = vec![0; sealed_len(plain.len())];
    let length = from.seal(plain, &mut sealed).unwrap();
    let mut opened = Vec::new();
    feed(to, &sealed[..length], chunk, &mut opened).unwrap();
    opened
}

fn feed(
    to: &mut Session,
    wire: &[u8],
    chunk: usize,
    opened: &mut Vec<u8>,
) -> Result<bool, TlsError> {
    let mut is_closed = false;
    for piece in wire.chunks(chunk) {
        let mut received = to.unread().to_vec();
        received.extend_from_slice(piece);
        is_closed |= to.open(&mut received, opened, &mut Vec::new())?;
    }
    Ok(is_closed)
}

fn pair() -> (Session, Session) {
    let authority = Authority::new("test");
    let (client, server) = (svid(&authority, "client"), svid(&authority, "server"));
    shake(&client, &server, &["server"], usize::MAX).sessions()
}

/// For every chunk size the handshake ends the same, and both ends know each other.
#[test]
fn handshakes_do_not_depend_on_chunking() {
    let authority = Authority::new("test");
    let (client, server) = (svid(&authority, "client"), svid(&authority, "server"));

    for chunk in (1..40).chain([100, 1000, 5000]) {
        let (mut at_client, mut at_server) =
            shake(&client, &server, &["other", "server"], chunk).sessions();
        assert_eq!(at_client.peer(), Some(&identity("server")));
        assert_eq!(at_server.peer(), Some(&identity("client")));
        assert_eq!(
            carry(&mut at_client, &mut at_server, b"ping", chunk),
            b"ping"
        );
        assert_eq!(
            carry(&mut at_server, &mut at_client, b"pong", chunk),
            b"pong"
        );
    }
}

/// Post-quantum ends agree with each other, and with the default, which offers it too.
#[test]
fn the_hybrid_key_exchange_is_available() {
    let authority = Authority::new("test");
    let hybrid = svid_for(
        &authority,
        &identity("server"),
        KeyExchange::PostQuantumOnly,
    );
    let classical = svid(&authority, "client");

    shake(&classical, &hybrid, &["server"], 1000).sessions();
    shake(&hybrid, &hybrid, &["server"], 1000).sessions();
}

/// Every configuration is approved when the module is (design D12).
#[test]
fn configurations_are_fips_when_the_module_is() {
    let svid = svid(&Authority::new("test"), "any");

    assert_eq!(svid.server_config().fips(), cfg!(feature = "fips"));
    assert_eq!(
        svid.client_config(&expect(&["x"])).unwrap().fips(),
        cfg!(feature = "fips")
    );
}

/// One configuration per set of expected identities, made once.
#[test]
fn client_configurations_are_kept() {
    let svid = svid(&Authority::new("test"), "any");

    let first = svid.client_config(&expect(&["a", "b"])).unwrap();
    let again = svid.client_config(&expect(&["a", "b"])).unwrap();
    let other = svid.client_config(&expect(&["a"])).unwrap();

    assert!(Arc::ptr_eq(&first, &again));
    assert!(!Arc::ptr_eq(&first, &other));
}

/// The client refuses a server that proves none of the expected identities, and says which came.
#[test]
fn an_unexpected_server_is_refused() {
    let authority = Authority::new("test");
    let (client, server) = (svid(&authority, "client"), svid(&authority, "server"));

    let error = shake(&client, &server, &["waypoint"], usize::MAX)
        .client
        .err()
        .unwrap();

    assert_eq!(error.reason(), CloseReason::IdentityMismatch);
    let text = error.to_string();
    assert!(
        text.contains("sa/waypoint")
            && text.contains("got spiffe://cluster.local/ns/demo/sa/server"),
        "{text}"
    );
}

/// The server refuses a client of another trust domain, even under the same root.
#[test]
fn a_client_of_another_trust_domain_is_refused() {
    let authority = Authority::new("test");
    let stranger = Identity::new("other.domain", "demo", "client");
    let client = svid_for(&authority, &stranger, KeyExchange::ClassicalFirst);

    let outcome = shake(
        &client,
        &svid(&authority, "server"),
        &["server"],
        usize::MAX,
    );

    assert_eq!(
        outcome.server.err().unwrap().reason(),
        CloseReason::IdentityMismatch
    );
}

/// Certificates of another authority are refused by whoever sees them first.
#[test]
fn another_authority_is_refused() {
    let client = svid(&Authority::new("one"), "client");
    let server = svid(&Authority::new("two"), "server");

    let outcome = shake(&client, &server, &["server"], usize::MAX);

    assert_eq!(
        outcome.client.err().unwrap().reason(),
        CloseReason::TlsFailure
    );
}

/// An expired certificate is refused at both ends.
#[test]
fn expired_certificates_are_refused() {
    let authority = Authority::new("test");
    let expired = |name: &str| {
        let leaf = authority.leaf_with(identity(name).as_str(), |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 2);
        });
        let chain = [leaf.certificate_pem, authority.root_pem().to_owned()];
        let key = rustls::pki_types::PrivateKeyDer::try_from(leaf.key_der).unwrap();
        let key_exchange = KeyExchange::ClassicalFirst;
        Svid::new(SvidParts {
            identity: identity(name),
            chain: &chain,
            key,
            key_exchange,
        })
        .unwrap()
    };
    let (client, server) = (svid(&authority, "client"), svid(&authority, "server"));

    let by_client = shake(&client, &expired("server"), &["server"], usize::MAX).client;
    let by_server = shake(&expired("client"), &server, &["server"], usize::MAX).server;

    assert!(by_client.err().unwrap().to_string().contains("expired"));
    assert!(by_server.err().unwrap().to_string().contains("expired"));
}

/// The end of one side is told apart from the end of its bytes.
#[test]
fn an_orderly_close_is_seen() {
    let (mut client, mut server) = pair();
    let mut wire = vec![0; sealed_len(0)];
    let length = client.close(&mut wire).unwrap();

    assert!(feed(&mut server, &wire[..length], 1, &mut Vec::new()).unwrap());
    assert_eq!(
        carry(&mut server, &mut client, b"still open this way", 7),
        b"still open this way"
    );
    assert!(client.seal(b"more", &mut vec![0; sealed_len(4)]).is_err());
}

/// A change of keys is invisible to the data, in both directions, whatever the chunking.
#[test]
fn keys_change_without_a_trace() {
    let (mut client, mut server) = pair();
    for round in 0..5 {
        client.refresh_key().unwrap();
        assert_eq!(
            carry(&mut client, &mut server, &[round; 100], 3),
            [round; 100]
        );
        server.refresh_key().unwrap();
        assert_eq!(
            carry(&mut server, &mut client, &[round; 100], 50),
            [round; 100]
        );
    }
}

/// A change of keys that the peer asks for is answered, and sealing in the middle of it is safe.
#[test]
fn sealing_between_parts_of_a_key_update_is_safe() {
    let (mut client, mut server) = pair();
    client.refresh_key().unwrap();
    let mut wire = vec![0; sealed_len(4)];
    let length = client.seal(b"data", &mut wire).unwrap();

    let mut opened = Vec::new();
    for byte in &wire[..length] {
        feed(&mut server, &[*byte], 1, &mut opened).unwrap();
        assert_eq!(carry(&mut server, &mut client, b"x", 100), b"x");
    }

    assert_eq!(opened, b"data");
}

/// A request has a P-256 key, an empty subject, and one critical URI name (specification §5.2).
#[test]
fn requests_have_the_shape_that_authorities_want() {
    use x509_parser::prelude::*;
    let request = CertificateRequest::new(&identity("web")).unwrap();

    let (_, pem) = x509_parser::pem::parse_x509_pem(request.pem().as_bytes()).unwrap();
    let (_, parsed) = X509CertificationRequest::from_der(&pem.contents).unwrap();
    let info = &parsed.certification_request_info;

    assert_eq!(info.subject.iter().count(), 0);
    assert!(parsed.verify_signature().is_ok());
    let extensions: Vec<_> = info.iter_attributes().collect();
    let text = format!("{extensions:?}");
    assert!(text.contains("critical: true"), "{text}");
    assert!(
        text.contains("spiffe://cluster.local/ns/demo/sa/web"),
        "{text}"
    );
}

/// An answer of the authority is checked before it is used.
#[test]
fn incomplete_or_foreign_answers_are_refused() {
    let authority = Authority::new("test");
    let answer = |identity: Identity, chain: &dyn Fn(String) -> Vec<String>| {
        let request = CertificateRequest::new(&self::identity("web")).unwrap();
        let leaf = authority.sign_request(request.pem()).unwrap();
        let (chain, key) = (chain(leaf), request.into_key());
        let key_exchange = KeyExchange::ClassicalFirst;
        Svid::new(SvidParts {
            identity,
            chain: &chain,
            key,
            key_exchange,
        })
        .unwrap_err()
    };
    let root = authority.root_pem().to_owned();

    assert!(matches!(
        answer(identity("web"), &|_| vec![]),
        SvidError::Empty
    ));
    assert!(matches!(
        answer(identity("web"), &|leaf| vec![leaf]),
        SvidError::NoRoot
    ));
    assert!(matches!(
        answer(identity("web"), &|leaf| vec![leaf, "x".into()]),
        SvidError::NoRoot
    ));
    let wrong = answer(identity("db"), &|leaf| vec![leaf, root.clone()]);
    assert!(matches!(wrong, SvidError::WrongIdentity { .. }), "{wrong}");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let wrong = answer(identity("web"), &|_| vec![garbage.clone(), root.clone()]);
    assert!(matches!(wrong, SvidError::Unparsable { .. }), "{wrong}");
}

/// A bundle may hold several roots; one that does not parse does not spoil the others.
#[test]
fn bundles_of_several_roots_are_used() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let with_both = |authority: &Authority, name: &str| {
        let request = CertificateRequest::new(&identity(name)).unwrap();
        let leaf = authority.sign_request(request.pem()).unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let chain = [
            leaf,
            format!("{}{broken}{}", old.root_pem(), new.root_pem()),
        ];
        let (identity, key) = (identity(name), request.into_key());
        let key_exchange = KeyExchange::ClassicalFirst;
        Svid::new(SvidParts {
            identity,
            chain: &chain,
            key,
            key_exchange,
        })
        .unwrap()
    };

    let client = with_both(&old, "client");
    shake(&client, &with_both(&new, "server"), &["server"], usize::MAX).sessions();

    assert_eq!((client.roots().len(), client.chain().len()), (2, 1));
    let validity = client.validity();
    assert!(
        validity.not_before < validity.half_life() && validity.half_life() < validity.not_after
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any data of any size arrives, whatever the pieces it comes in.
    #[test]
    fn records_do_not_depend_on_chunking(size in 0usize..70_000, chunk in 1usize..40_000) {
        let (mut client, mut server) = pair();
        let plain: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();

        prop_assert_eq!(carry(&mut client, &mut server, &plain, chunk), plain);
    }

    /// No bytes make a handshake panic, at either end, at the start or in the middle.
    #[test]
    fn any_bytes_are_answered_in_a_handshake(
        garbage in prop::collection::vec(any::<u8>(), 0..300),
        keep in 0usize..400,
        is_record in any::<bool>(),
    ) {
        let authority = Authority::new("test");
        let svid = svid(&authority, "any");
        let mut hello = Vec::new();
        let mut client = Handshake::client(svid.client_config(&expect(&["any"])).unwrap()).unwrap();
        client.advance(&[], &mut hello).unwrap();
        let mut server = Handshake::server(svid.server_config()).unwrap();
        let mut wire = hello[..keep.min(hello.len())].to_vec();
        if is_record {
            wire.extend([22, 3, 3, 0, u8::try_from(garbage.len().min(255)).unwrap()]);
        }
        wire.extend(&garbage);

        for chunk in [1, 7, 1000] {
            for end in [&mut server, &mut client] {
                for piece in wire.chunks(chunk) {
                    if end.advance(piece, &mut Vec::new()).is_err() {
                        break;
                    }
                }
            }
        }
    }

    /// No bytes make an open session panic, and none that were not sealed come out of it.
    #[test]
    fn any_bytes_are_answered_in_a_session(
        garbage in prop::collection::vec(any::<u8>(), 1..300),
        at in 0usize..200,
    ) {
        let (mut client, mut server) = pair();
        let mut wire = vec![0; sealed_len(100)];
        let length = client.seal(&[7; 100], &mut wire).unwrap();
        wire.truncate(length);
        wire.splice(at.min(length)..at.min(length), garbage);
        let mut opened = Vec::new();

        let _ = feed(&mut server, &wire, 9, &mut opened);
        let _ = server.seal(b"x", &mut vec![0; sealed_len(1)]);

        prop_assert!(opened.iter().all(|byte| *byte == 7));
    }
}
