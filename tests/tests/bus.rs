//! What callers may do on the bus: every method of both daemons, by everybody.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests; helpers too")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use model::bus::installd::ManagerProxy;
use model::change::{Action, Request};
use tests::on_bus::{OnBus, STRANGER, as_user};
use zbus::connection::Builder;
use zbus::fdo::{IntrospectableProxy, ObjectManagerProxy};
use zbus::{Connection, Variant, interface};

const DAEMONS: [(&str, &str, &str); 2] = [
    (
        "org.changeover.Install1",
        "/org/changeover/Install1",
        "org.changeover.Install1.Manager",
    ),
    (
        "org.changeover.SysMgr1",
        "/org/changeover/SysMgr1",
        "org.changeover.SysMgr1.Manager",
    ),
];
/// Methods that anybody may call; every other one changes something, those of later versions too.
const READING: [&str; 11] = [
    "List",
    "Fleet",
    "Plan",
    "Status",
    "Why",
    "Verify",
    "History",
    "Change",
    "Processes",
    "Logs",
    "Mapped",
];
/// Methods that polkit's consent does not open.
const ROOT_ONLY: [&str; 1] = ["AddUnsigned"];
const NOT_ALLOWED: &str = "org.changeover.Error.NotAllowed";

/// The names of a manager's methods with the signatures of their arguments, from the live interface.
async fn methods(
    connection: &Connection,
    daemon: &(&str, &str, &str),
) -> Vec<(String, Vec<String>)> {
    let (name, path, interface) = *daemon;
    let builder = IntrospectableProxy::builder(connection).destination(name.to_owned());
    let proxy = builder.path(path.to_owned()).build().await.unwrap();
    let live = proxy.introspect().await.unwrap();
    let begin = live
        .find(&format!("<interface name=\"{interface}\">"))
        .unwrap();
    let end = begin + live[begin..].find("</interface>").unwrap();
    let attribute = |text: &str, key: &str| {
        let from = text.find(&format!("{key}=\"")).unwrap() + key.len() + 2;
        text[from..].split('"').next().unwrap().to_owned()
    };
    let mut found = Vec::new();
    for method in live[begin..end].split("<method ").skip(1) {
        let method = method.split("</method>").next().unwrap();
        let arguments = method
            .split("<arg ")
            .skip(1)
            .filter(|arg| arg.contains("\"in\""));
        let types = arguments.map(|arg| attribute(arg, "type")).collect();
        found.push((attribute(method, "name"), types));
    }
    found
}

/// Calls with arguments that mean nothing; the name of the error, if it is one.
async fn call(
    connection: &Connection,
    (name, path, interface): (&str, &str, &str),
    (method, types): &(String, Vec<String>),
) -> Option<String> {
    let to = (Some(name), path, Some(interface), method.as_str());
    let file = || {
        zbus::OwnedFd::from(std::os::fd::OwnedFd::from(std::fs::File::from(
            fs_err::File::open("/dev/null").unwrap(),
        )))
    };
    let types: Vec<_> = types.iter().map(String::as_str).collect();
    macro_rules! send {
        ($($body:expr),*) => {
            connection.call_method(to.0, to.1, to.2, to.3, &($($body),*)).await
        };
    }
    let nothing: Vec<String> = Vec::new();
    let answer = match types[..] {
        [] => send!(),
        ["s"] => send!("no document"),
        ["h"] => send!(file()),
        ["t"] => send!(999_u64),
        ["as"] => send!(nothing),
        ["at"] => send!(Vec::<u64>::new()),
        ["s", "u"] => send!("nothing", 1_u32),
        ["s", "t"] => send!("nothing", 1_u64),
        ["t", "b"] => send!(999_u64, true),
        _ => panic!("{method}{types:?}: say here how to call it"),
    };
    match answer {
        Ok(_) => None,
        Err(zbus::Error::MethodError(name, ..)) => Some(name.to_string()),
        Err(other) => panic!("{method}: {other}"),
    }
}

async fn connect(address: &str) -> Connection {
    Builder::address(address).build().await.unwrap()
}

/// Every method of both daemons with the name of the error that this caller gets.
async fn table(address: &str) -> Vec<(String, Option<String>)> {
    let connection = connect(address).await;
    let mut all = Vec::new();
    for daemon in DAEMONS {
        let methods = methods(&connection, &daemon).await;
        assert!(methods.len() > 5, "{methods:?}");
        for method in methods {
            let answer = call(&connection, daemon, &method).await;
            all.push((method.0, answer));
        }
    }
    all
}

fn as_stranger<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(work))
    };
    as_user(STRANGER, work).unwrap()
}

/// A polkit that says what it is told to, and remembers whom it was asked about.
struct Polkit {
    says: Arc<AtomicU32>,
    asked: Arc<AtomicU32>,
}

const NO: u32 = 0;
const YES: u32 = 1;
const IF_ASKED: u32 = 2;

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Polkit {
    #[expect(
        clippy::too_many_arguments,
        clippy::needless_pass_by_value,
        reason = "the interface has this shape"
    )]
    fn check_authorization(
        &self,
        subject: (String, HashMap<String, Variant<'_>>),
        action: &str,
        details: HashMap<String, String>,
        flags: u32,
        cancellation: &str,
    ) -> ((bool, bool, HashMap<String, String>),) {
        drop((details, flags, cancellation));
        assert_eq!(subject.0, "system-bus-name");
        assert!(matches!(subject.1.get("name"), Some(Variant::Str(name)) if name.starts_with(':')));
        assert_eq!(action, "org.changeover.manage");
        self.asked.fetch_add(1, Ordering::SeqCst);
        let says = self.says.load(Ordering::SeqCst);
        ((says == YES, says == IF_ASKED, HashMap::new()),)
    }
}

#[test]
fn every_method_that_changes_something_wants_root_or_polkits_consent() {
    let on_bus = OnBus::start().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let reads = |method: &str| READING.contains(&method);
    // root: nothing is refused for who it is.
    let answers = runtime.block_on(table(&on_bus.address));
    for (method, answer) in &answers {
        assert_ne!(
            answer.as_deref(),
            Some(NOT_ALLOWED),
            "root may not {method}"
        );
    }
    let stranger = || {
        let address = on_bus.address.clone();
        as_stranger(async move { table(&address).await })
    };
    let expect = |word: &str, opened: &dyn Fn(&str) -> bool| {
        for (method, answer) in stranger() {
            let refused = answer.as_deref() == Some(NOT_ALLOWED);
            assert_eq!(
                refused,
                !reads(&method) && !opened(&method),
                "{word}: {method}: {answer:?}"
            );
        }
    };
    expect("no polkit", &|_| false);
    let (says, asked) = (Arc::new(AtomicU32::new(NO)), Arc::new(AtomicU32::new(0)));
    let polkit = Polkit {
        says: Arc::clone(&says),
        asked: Arc::clone(&asked),
    };
    let _polkit = runtime.block_on(async {
        Builder::address(on_bus.address.as_str())
            .serve_at("/org/freedesktop/PolicyKit1/Authority", polkit)
            .name("org.freedesktop.PolicyKit1")
            .build()
            .await
            .unwrap()
    });
    expect("polkit says no", &|_| false);
    says.store(IF_ASKED, Ordering::SeqCst);
    expect("polkit wants a password", &|_| false);
    let so_far = asked.load(Ordering::SeqCst);
    assert!(so_far > 10, "{so_far}");
    runtime.block_on(table(&on_bus.address));
    assert_eq!(
        asked.load(Ordering::SeqCst),
        so_far,
        "nobody asks about root"
    );
    says.store(YES, Ordering::SeqCst);
    expect("polkit says yes", &|method| !ROOT_ONLY.contains(&method));
}

#[test]
fn without_polkit_the_error_says_so() {
    let on_bus = OnBus::start().unwrap();
    let address = on_bus.address.clone();
    let error = as_stranger(async move {
        let proxy = ManagerProxy::new(&connect(&address).await).await.unwrap();
        proxy
            .remove(vec!["x".to_owned()])
            .await
            .unwrap_err()
            .to_string()
    });
    assert!(
        error.contains("ask as root; there is no polkit on this bus"),
        "{error}"
    );
}

/// Compares an object's interface with `docs/bus/NAME.xml`; `UPDATE_DOCS=1` writes it instead.
async fn documented(connection: &Connection, path: &str, interface: &str) {
    let builder = IntrospectableProxy::builder(connection).destination(DAEMONS[0].0);
    let proxy = builder.path(path.to_owned()).build().await.unwrap();
    let live = proxy.introspect().await.unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join(format!("../docs/bus/{interface}.xml"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs_err::write(&file, &live).unwrap();
    }
    let documented = fs_err::read_to_string(&file).unwrap();
    assert_eq!(documented, live, "UPDATE_DOCS=1 writes it anew");
}

async fn managed(connection: &Connection) -> HashMap<String, HashMap<String, String>> {
    let (name, path, _) = DAEMONS[0];
    let builder = ObjectManagerProxy::builder(connection).destination(name);
    let proxy = builder.path(path).build().await.unwrap();
    let mut all = HashMap::new();
    for (path, interfaces) in proxy.get_managed_objects().await.unwrap() {
        for (interface, properties) in interfaces {
            if interface.as_str().starts_with("org.changeover.Install1.") {
                let told = properties
                    .into_iter()
                    .map(|(key, value)| (key, format!("{value:?}")));
                all.insert(path.to_string(), told.collect());
            }
        }
    }
    all
}

#[test]
fn packages_and_changes_are_objects_on_the_bus() {
    let on_bus = OnBus::start().unwrap();
    let package = tests::on_bus::package(on_bus.dir()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let connection = connect(&on_bus.address).await;
        let proxy = ManagerProxy::new(&connection).await.unwrap();
        let file = std::fs::File::from(fs_err::File::open(package).unwrap());
        proxy
            .add(std::os::fd::OwnedFd::from(file).into())
            .await
            .unwrap();
        let request = Request {
            actions: vec![Action::Activate("data".parse().unwrap())],
            ..Request::default()
        };
        let document = model::bus::encode(&request).unwrap();
        proxy.apply(&document).await.unwrap();
        let path = "/org/changeover/Install1/package/data_3d1";
        let change = "/org/changeover/Install1/change/1";
        // The objects follow the engine; they come soon.
        let all = loop {
            let all = managed(&connection).await;
            let says = |path: &str, key: &str, value: &str| {
                all.get(path).is_some_and(|one| one[key].contains(value))
            };
            if says(path, "Active", "true") && says(change, "State", "ended") {
                break all;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert!(all[change]["Outcome"].contains("done"), "{all:?}");
        assert!(all[change]["By"].contains("root (pid"), "{all:?}");
        documented(&connection, path, "org.changeover.Install1.Package").await;
        documented(&connection, change, "org.changeover.Install1.Change").await;
        let undo = Request {
            actions: vec![Action::Deactivate("data".parse().unwrap())],
            ..Request::default()
        };
        let document = model::bus::encode(&undo).unwrap();
        proxy.apply(&document).await.unwrap();
        while managed(&connection)
            .await
            .get(path)
            .is_some_and(|one| one["Active"].contains("true"))
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
}
