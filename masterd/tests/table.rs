//! The table of routes, walked by every kind of caller.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    clippy::cognitive_complexity,
    dead_code,
    reason = "a table of callers, and a house that several tests share"
)]

mod house;

use house::{House, Show, bearer};
use masterd::api::Access;
use masterd::api::table;

const WIDE: &str = "[limits]\nrefused-per-minute = 100000\nrequests-per-second = 100000\n";

/// A kind of caller, and which rows it may go: public, enrol, node, renew, read, operate, admin.
struct Kind {
    name: &'static str,
    show: Show,
    may: [bool; 7],
}

fn place(access: Access) -> usize {
    match access {
        Access::Public => 0,
        Access::Enrol => 1,
        Access::Node => 2,
        Access::Renew => 3,
        Access::Read => 4,
        Access::Operate => 5,
        Access::Admin => 6,
    }
}

const fn may(bits: u8) -> [bool; 7] {
    let mut may = [false; 7];
    let mut place = 0;
    while place < 7 {
        may[place] = bits >> (6 - place) & 1 == 1;
        place += 1;
    }
    may
}

async fn kinds(house: &House) -> Vec<Kind> {
    let node = house.node("n1").await;
    let revoked = house.node("n2").await;
    let retired = house.node("n3").await;
    let replaced = house.node("n4").await;
    for (node, deed) in [("n2", "revoke"), ("n3", "retire"), ("n4", "replace")] {
        let path = format!("/v1/nodes/{node}/{deed}");
        let done = house.ask(&house.admin(), "POST", &path, b"").await;
        assert_eq!(
            done.status,
            200,
            "{deed}: {}",
            String::from_utf8_lossy(&done.body)
        );
    }
    let gone = house.operator("gone", "admin").await;
    let removed = house
        .ask(&house.admin(), "DELETE", "/v1/operators/gone", b"")
        .await;
    assert_eq!(removed.status, 204);
    let key = rcgen::KeyPair::generate().unwrap();
    let reader = house.operator("reader", "read").await;
    let path = "/v1/operators/reader/certificate";
    let issued = house
        .ask(
            &house.admin(),
            "POST",
            path,
            house::request(&key).as_bytes(),
        )
        .await;
    let certificate = issued.json()["certificate"].as_str().unwrap().to_owned();
    let by_certificate = Show {
        certificate: Some((certificate, key.serialize_pem())),
        bearer: None,
    };
    let enrolment = bearer(&format!("co1.{}.0", house.token(1).await));
    let both = Show {
        bearer: Some("coo1.reader.0".to_owned()),
        ..node.clone()
    };
    let kind = |name, show, bits| Kind {
        name,
        show,
        may: may(bits),
    };
    vec![
        kind("nobody", Show::default(), 0b110_0000),
        kind("a node", node, 0b111_1000),
        kind("a revoked node", revoked, 0b110_0000),
        kind("a retired node", retired, 0b110_0000),
        kind("a replaced node", replaced, 0b110_0000),
        kind(
            "a lapsed node",
            house.minted("changeover:node:n1:0", (-91, -1)),
            0b110_1000,
        ),
        kind(
            "an expired node",
            house.minted("changeover:node:n1:0", (-300, -200)),
            0b110_0000,
        ),
        kind(
            "a node of another generation",
            house.minted("changeover:node:n1:7", (-1, 9)),
            0b110_0000,
        ),
        kind(
            "a node that nobody knows",
            house.minted("changeover:node:ghost:0", (-1, 9)),
            0b110_0000,
        ),
        kind(
            "a certificate of another kind",
            house.minted("https://n1", (-1, 9)),
            0b110_0000,
        ),
        kind("a node with a bad token besides", both, 0b110_0000),
        kind("an operator who reads", reader, 0b110_0100),
        kind("an operator with a certificate", by_certificate, 0b110_0100),
        kind(
            "an operator out of date",
            house.minted("changeover:operator:reader:0", (-91, -1)),
            0b110_0000,
        ),
        kind(
            "an operator who operates",
            house.operator("doer", "operate").await,
            0b110_0110,
        ),
        kind(
            "an operator who administers",
            house.operator("boss", "admin").await,
            0b110_0111,
        ),
        kind("an operator who was sent away", gone, 0b110_0000),
        kind("an enrolment token", enrolment, 0b110_0000),
        kind("a made-up token", bearer("coo1.admin.0000"), 0b110_0000),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_caller_passes_exactly_where_the_table_lets_them() {
    let house = House::start(WIDE);
    let kinds = kinds(&house).await;
    let mut wrong = Vec::new();
    for route in table::all() {
        let path = route
            .path
            .split('/')
            .map(|part| {
                if part.starts_with('{') {
                    "nobody"
                } else {
                    part
                }
            })
            .collect::<Vec<_>>()
            .join("/");
        for kind in &kinds {
            let answer = house
                .ask(&kind.show, route.method.as_str(), &path, b"")
                .await;
            // An enrolment that is refused for what it says is refused by its handler.
            let passed = !matches!(answer.status, 401 | 403);
            if passed != kind.may[place(route.access)] {
                wrong.push(format!(
                    "{} {path} ({:?}) by {}: {}",
                    route.method, route.access, kind.name, answer.status
                ));
            }
            if !passed {
                let refusal = answer.json();
                let is_said = ["error", "message", "hint"]
                    .iter()
                    .all(|part| refusal[part].as_str().is_some_and(|text| !text.is_empty()));
                if !is_said
                    && refusal["message"]
                        .as_str()
                        .is_none_or(|it| !it.starts_with("only"))
                {
                    wrong.push(format!("{path} by {}: {refusal}", kind.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_table_is_not_there_whoever_asks() {
    let house = House::start(WIDE);
    for show in [Show::default(), house.admin(), house.node("n1").await] {
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/v1"),
            ("DELETE", "/v1/audit"),
            ("PATCH", "/healthz"),
            ("POST", "/objects/ab"),
            ("GET", "/v1/enrol"),
            ("GET", "/v1/../state.db"),
            ("GET", "/objects/../trust/ca.key"),
            ("GET", "/objects/%2e%2e/%2e%2e/trust/ca.key"),
            ("GET", "/objects/..%2f..%2ftrust%2fca.key"),
            ("GET", "/lists/..%2fshelf.db"),
        ] {
            let answer = house.ask(&show, method, path, b"").await;
            assert_eq!(answer.status, 404, "{method} {path}");
            assert_eq!(answer.json()["error"], "not-found", "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_ca_ends_the_handshake() {
    let house = House::start(WIDE);
    let foreign = house.foreign("changeover:node:n1:0");
    let answer = house.try_ask(&foreign, ("GET", "/healthz"), "", b"").await;
    assert!(answer.is_err());
    assert_eq!(
        house
            .ask(&Show::default(), "GET", "/healthz", b"")
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_open_loses_its_rights_when_its_node_is_revoked() {
    use tokio::io::AsyncWriteExt;
    let house = House::start(WIDE);
    let node = house.node("n1").await;
    let mut open = house.connect(&node).await.unwrap();
    let ask = b"POST /v1/certificate HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    open.write_all(ask).await.unwrap();
    let mut first = vec![0; 4096];
    let count = tokio::io::AsyncReadExt::read(&mut open, &mut first)
        .await
        .unwrap();
    assert!(first[..count].starts_with(b"HTTP/1.1 400"));
    let done = house
        .ask(&house.admin(), "POST", "/v1/nodes/n1/revoke", b"")
        .await;
    assert_eq!(done.status, 200);
    open.write_all(ask).await.unwrap();
    let count = tokio::io::AsyncReadExt::read(&mut open, &mut first)
        .await
        .unwrap();
    assert!(first[..count].starts_with(b"HTTP/1.1 403"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_too_often_waits_and_others_do_not() {
    let house = House::start("[limits]\nrefused-per-minute = 5\n");
    let made_up = bearer("coo1.admin.0000");
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(house.ask(&made_up, "GET", "/v1/audit", b"").await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    assert_eq!(
        house
            .ask(&house.admin(), "GET", "/v1/audit", b"")
            .await
            .status,
        200
    );
    assert_eq!(
        house
            .ask(&Show::default(), "GET", "/healthz", b"")
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_heads_and_times_have_limits() {
    use tokio::io::AsyncWriteExt;
    let house = House::start(&format!("{WIDE}head = \"1s\"\nhandshake = \"1s\"\n"));
    let long = vec![b' '; 70 << 10];
    let answer = house.ask(&house.admin(), "POST", "/v1/tokens", &long).await;
    assert_eq!(answer.status, 413);
    let headers = format!("X-Long: {}\r\n", "x".repeat(20 << 10));
    let answer = house
        .try_ask(&Show::default(), ("GET", "/healthz"), &headers, b"")
        .await;
    assert_eq!(answer.unwrap().status, 431);
    // A head that never ends, and a handshake that never begins, are ended by the master.
    let mut slow = house.connect(&Show::default()).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), house::read(&mut slow));
    assert!(ended.await.unwrap().is_err());
    let port: u16 = house
        .profile
        .master
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let mut silent = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), house::read(&mut silent));
    assert!(ended.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_served_in_ranges_and_may_be_kept_for_ever() {
    let house = House::start(WIDE);
    let objects = house.state().join("public/objects");
    fs_err::create_dir_all(&objects).unwrap();
    let bytes: Vec<u8> = (0..200_000_u32)
        .map(|number| number.to_le_bytes()[0])
        .collect();
    fs_err::write(objects.join("abcd"), &bytes).unwrap();
    let get = |headers: &'static str| {
        let house = &house;
        async move {
            let path = ("GET", "/objects/abcd");
            house
                .try_ask(&Show::default(), path, headers, b"")
                .await
                .unwrap()
        }
    };
    let whole = get("").await;
    assert_eq!((whole.status, &whole.body), (200, &bytes));
    assert!(
        whole
            .head
            .contains("cache-control: public, max-age=31536000, immutable")
    );
    let part = get("Range: bytes=100-199\r\n").await;
    assert_eq!((part.status, &part.body[..]), (206, &bytes[100..200]));
    assert!(part.head.contains("content-range: bytes 100-199/200000"));
    let end = get("Range: bytes=-5\r\n").await;
    assert_eq!((end.status, &end.body[..]), (206, &bytes[199_995..]));
    assert_eq!(get("Range: bytes=200000-\r\n").await.status, 416);
    let tag = whole
        .head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap();
    let known = format!("If-None-Match: {tag}\r\n");
    let path = ("GET", "/objects/abcd");
    let same = house
        .try_ask(&Show::default(), path, &known, b"")
        .await
        .unwrap();
    assert_eq!((same.status, same.body.len()), (304, 0));
    let head = house
        .ask(&Show::default(), "HEAD", "/objects/abcd", b"")
        .await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}
