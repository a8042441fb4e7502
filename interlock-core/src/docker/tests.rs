//! The client against a tiny engine: an HTTP server on a Unix socket that answers what a test tells it to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;

use futures::stream;
use http::{Response, StatusCode};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::*;
use crate::ownership;
use crate::plan::{Action, Change, Created};
use crate::units::ConfigId;

/// An answer: a status, a body, and whether the body stops half-way and stays open.
#[derive(Clone)]
struct Answer(u16, String, bool);

fn ok(body: Value) -> Answer {
    Answer(200, body.to_string(), false)
}

fn refused(status: u16, message: &str) -> Answer {
    Answer(status, json!({ "message": message }).to_string(), false)
}

/// An engine: what it answers to `METHOD /path`, without the version and the query, and what it was asked.
struct Fake {
    answers: BTreeMap<String, Answer>,
    asked: Mutex<Vec<(String, String)>>,
}

impl Fake {
    fn manager() -> BTreeMap<String, Answer> {
        BTreeMap::from([
            (
                "GET /version".to_owned(),
                ok(json!({"Version": "29.3.1", "ApiVersion": "1.51", "MinAPIVersion": "1.44"})),
            ),
            ("GET /info".to_owned(), ok(json!({"Swarm": {"LocalNodeState": "active", "ControlAvailable": true}}))),
        ])
    }

    async fn start(answers: BTreeMap<String, Answer>) -> (Arc<Self>, Endpoint, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let fake = Arc::new(Self { answers, asked: Mutex::default() });
        let shared = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fake = shared.clone();
                let service = service_fn(move |request| {
                    let fake = fake.clone();
                    async move { Ok::<_, Infallible>(fake.answer(request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        let endpoint = Endpoint::at(format!("unix://{}", socket.display()));
        (fake, endpoint, folder)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let asked = format!("{} {}", request.method(), request.uri());
        let path = request.uri().path();
        let path = path.strip_prefix("/v1.51").unwrap_or(path);
        let key = format!("{} {path}", request.method());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        self.asked.lock().unwrap().push((asked, String::from_utf8(body.to_vec()).unwrap()));
        let Answer(status, body, stalls) = self.answers.get(&key).cloned().unwrap_or(refused(404, "page not found"));
        let first = stream::iter([Ok(Frame::data(Bytes::from(body)))]);
        let rest = if stalls { stream::pending().left_stream() } else { stream::empty().right_stream() };
        let body = StreamBody::new(first.chain(rest));
        Response::builder().status(StatusCode::from_u16(status).unwrap()).body(UnsyncBoxBody::new(body)).unwrap()
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

/// A client of an engine that gives these answers.
async fn client(answers: &[(&str, Answer)]) -> (Client, Arc<Fake>, tempfile::TempDir) {
    let mut all = Fake::manager();
    all.extend(answers.iter().map(|(key, answer)| ((*key).to_owned(), answer.clone())));
    let (fake, endpoint, folder) = Fake::start(all).await;
    // Nobody waits for an answer that comes.
    let stalls = answers.iter().any(|(_, Answer(_, _, stalls))| *stalls);
    let limit = Duration::from_millis(if stalls { 300 } else { 10_000 });
    let deadlines = Deadlines { list: limit, inspect: limit, write: limit };
    (Client::connect_with(&endpoint, deadlines).await.unwrap(), fake, folder)
}

async fn connect_error(answers: &[(&str, Answer)]) -> Error {
    let mut all = Fake::manager();
    all.extend(answers.iter().map(|(key, answer)| ((*key).to_owned(), answer.clone())));
    let (_fake, endpoint, _folder) = Fake::start(all).await;
    Client::connect(&endpoint).await.unwrap_err()
}

#[tokio::test]
async fn the_newest_common_version_is_agreed_on_and_stands_in_front_of_every_path() {
    let created = json!({"ID": "c1"});
    let (client, fake, _folder) = client(&[("POST /configs/create", ok(created)), ("GET /nodes", ok(json!([])))]).await;
    assert_eq!(client.engine().api_version, "1.51");
    client.observe_nodes().await.unwrap();
    let action = Action::CreateConfig { name: "a".to_owned(), labels: BTreeMap::new(), data: "hi".to_owned() };
    client.apply(&action, &OwnSpecs::default(), &mut Created::default()).await.unwrap();
    let asked: Vec<_> = fake.asked().into_iter().map(|(asked, _)| asked).collect();
    assert_eq!(asked, ["GET /version", "GET /v1.51/info", "GET /v1.51/nodes", "POST /v1.51/configs/create"]);
    let (_, body) = fake.asked().pop().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), json!({"Name": "a", "Labels": {}, "Data": "aGk="}));
}

#[tokio::test]
async fn an_engine_that_is_too_old_too_new_or_no_manager_is_named() {
    let version =
        |newest: &str, oldest: &str| ok(json!({"Version": "x", "ApiVersion": newest, "MinAPIVersion": oldest}));
    let too_old = connect_error(&[("GET /version", version("1.40", "1.12"))]).await;
    assert!(matches!(too_old, Error::ApiVersion { .. }), "{too_old}");
    let too_new = connect_error(&[("GET /version", version("1.99", "1.90"))]).await;
    assert!(matches!(too_new, Error::ApiVersion { .. }), "{too_new}");
    for (state, control, words) in
        [("active", false, "worker"), ("inactive", false, "not part"), ("locked", false, "locked")]
    {
        let info = ok(json!({"Swarm": {"LocalNodeState": state, "ControlAvailable": control}}));
        let error = connect_error(&[("GET /version", version("1.41", "1.12")), ("GET /v1.41/info", info)]).await;
        assert_eq!(error.kind(), ErrorKind::NotAManager);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn nobody_at_the_socket_is_told_from_no_permission() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::at(format!("unix://{}/none.sock", folder.path().display()));
    let error = Client::connect(&endpoint).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    assert!(error::has_io_kind(&denied, std::io::ErrorKind::PermissionDenied));
}

#[tokio::test]
async fn a_body_that_stalls_is_bound_by_the_deadline() {
    let (client, _fake, _folder) = client(&[
        ("GET /nodes", Answer(200, "[".to_owned(), true)),
        ("POST /configs/create", Answer(201, "{".to_owned(), true)),
        ("GET /secrets", Answer(500, "{".to_owned(), true)),
    ])
    .await;
    let error = client.observe_nodes().await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert_eq!(error.to_string(), "nodes: the engine did not answer within 300ms");
    assert_eq!(client.observe_secrets().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let action = Action::CreateConfig { name: "a".to_owned(), labels: BTreeMap::new(), data: "hi".to_owned() };
    let error = client.apply(&action, &OwnSpecs::default(), &mut Created::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

fn our_service(version: u64) -> Value {
    json!({"ID": "p1", "Version": {"Index": version}, "CreatedAt": "2026-11-23T11:00:00Z", "Spec": {
        "Name": "interlock-proxy", "Labels": {ownership::OWNER: ownership::OWNER_VALUE}, "New": [1],
        "TaskTemplate": {"ContainerSpec": {"Image": "a", "Env": ["SECRET=hunter2"]}}, "Mode": {"Replicated": {"Replicas": 2}}}})
}

fn whole_swarm() -> Vec<(&'static str, Answer)> {
    let foreign = json!({"ID": "s1", "Version": {"Index": 3}, "Spec": {"Name": "shop"}});
    let task = |id: &str, service: &str| json!({"ID": id, "ServiceID": service, "DesiredState": "running", "Status": {"State": "running"}});
    vec![
        ("GET /services", ok(json!([our_service(7), foreign]))),
        ("GET /tasks", ok(json!([task("t2", "p1"), task("t1", "s1")]))),
        ("GET /networks", ok(json!([]))),
        ("GET /nodes", ok(json!([]))),
        ("GET /configs", ok(json!([]))),
        ("GET /secrets", ok(json!([]))),
    ]
}

#[tokio::test]
async fn an_observation_is_whole_or_an_error() {
    let (whole, fake, _folder) = client(&whole_swarm()).await;
    let observation = whole.observe(Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(observation.snapshot.services.len(), 2);
    let lists = fake.asked().len() - 2;
    assert_eq!(lists, 7, "a constant number of calls");
    assert!(
        fake.asked().iter().any(|(asked, _)| asked.contains("/tasks?filters=%7B%22service%22%3A%5B%22p1%22%5D%7D"))
    );
    assert!(!format!("{observation:?}").contains("hunter2"), "specs are not printed");

    for (path, _) in whole_swarm() {
        for broken in [refused(500, "rpc error: context deadline exceeded"), Answer(200, "[{}]".to_owned(), false)] {
            let mut answers = whole_swarm();
            answers.push((path, broken));
            let (client, _fake, _folder) = client(&answers).await;
            assert!(client.observe(Timestamp::UNIX_EPOCH).await.is_err(), "{path}");
        }
    }
}

#[tokio::test]
async fn an_update_changes_fields_of_exactly_the_version_it_was_planned_for() {
    let mut answers = whole_swarm();
    answers.push(("POST /services/p1/update", ok(json!({"Warnings": null}))));
    let (client, fake, _folder) = client(&answers).await;
    let specs = client.observe(Timestamp::UNIX_EPOCH).await.unwrap().specs;
    let path = ["TaskTemplate", "ContainerSpec", "Image"].map(String::from).to_vec();
    let update = |version| Action::UpdateService {
        id: ServiceId::new("p1"),
        name: "interlock-proxy".to_owned(),
        version,
        changes: vec![Change { path: path.clone(), value: Some(json!("b")), summary: String::new() }],
    };
    client.apply(&update(7), &specs, &mut Created::default()).await.unwrap();
    let (asked, body) = fake.asked().pop().unwrap();
    assert_eq!(asked, "POST /v1.51/services/p1/update?version=7");
    let mut expected = our_service(7)["Spec"].take();
    expected["TaskTemplate"]["ContainerSpec"]["Image"] = json!("b");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);

    let calls = fake.asked().len();
    let error = client.apply(&update(8), &specs, &mut Created::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let error = client.apply(&update(7), &OwnSpecs::default(), &mut Created::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(fake.asked().len(), calls, "nothing was sent");
}

#[tokio::test]
async fn a_config_that_exists_counts_as_created_when_it_is_the_same_and_ours() {
    let labels = BTreeMap::from([(ownership::OWNER.to_owned(), ownership::OWNER_VALUE.to_owned())]);
    let action = Action::CreateConfig { name: "a".to_owned(), labels: labels.clone(), data: "hi".to_owned() };
    let exists = refused(409, "rpc error: code = AlreadyExists desc = config a already exists");
    let there =
        |labels: Value, data: &str| ok(json!({"ID": "c9", "Spec": {"Name": "a", "Labels": labels, "Data": data}}));
    for (found, done) in
        [(there(json!(labels), "aGk="), true), (there(json!(labels), "aG8="), false), (there(json!({}), "aGk="), false)]
    {
        let (client, _fake, _folder) =
            client(&[("POST /configs/create", exists.clone()), ("GET /configs/a", found)]).await;
        let mut created = Created::default();
        let result = client.apply(&action, &OwnSpecs::default(), &mut created).await;
        match done {
            true => assert_eq!(created.configs, BTreeMap::from([("a".to_owned(), ConfigId::from("c9"))])),
            false => assert_eq!(result.unwrap_err().kind(), ErrorKind::Permanent),
        }
    }
    // It was removed between the two calls.
    let (client, _fake, _folder) = client(&[("POST /configs/create", exists)]).await;
    let error = client.apply(&action, &OwnSpecs::default(), &mut Created::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone);
}

#[tokio::test]
async fn removing_what_is_gone_is_done_and_what_is_used_waits() {
    let in_use =
        refused(400, "rpc error: code = InvalidArgument desc = config 'a' is in use by the following service: b");
    let (client, _fake, _folder) = client(&[("DELETE /configs/c1", in_use)]).await;
    let remove = |id: &str| Action::RemoveConfig { id: ConfigId::new(id), name: "a".to_owned() };
    let error = client.apply(&remove("c1"), &OwnSpecs::default(), &mut Created::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(error.to_string().starts_with("config a: "), "{error}");
    client.apply(&remove("c2"), &OwnSpecs::default(), &mut Created::default()).await.unwrap();
}

#[tokio::test]
async fn one_service_is_read_with_its_tasks_or_not_at_all() {
    let mut answers = whole_swarm();
    answers.push(("GET /services/p1", ok(our_service(8))));
    let (client, fake, _folder) = client(&answers).await;
    let view = client.observe_service("p1").await.unwrap().unwrap();
    assert_eq!(view.service.version, 8);
    assert!(!format!("{view:?}").contains("hunter2"));
    assert!(client.observe_service("nobody").await.unwrap().is_none());
    assert!(fake.asked().iter().any(|(asked, _)| asked == "GET /v1.51/services/nobody"));

    let mut specs = client.observe(Timestamp::UNIX_EPOCH).await.unwrap().specs;
    let id = view.service.id.clone();
    specs.put(&id, Some(&view));
    assert_eq!(specs.get(&id).unwrap().0, 8);
    let older = ServiceView { service: crate::swarm::Service { version: 5, ..view.service.clone() }, ..view };
    specs.put(&id, Some(&older));
    assert_eq!(specs.get(&id).unwrap().0, 8, "an old answer never overwrites a newer one");
    specs.put(&id, None);
    assert!(specs.get(&id).is_none());
}

#[tokio::test]
async fn events_are_hints() {
    let event = |kind: &str, id: &str| {
        json!({"Type": kind, "Action": "update", "Actor": {"ID": id, "Attributes": {}}, "scope": "swarm", "time": 1})
            .to_string()
    };
    let lines = [
        event("service", "s1"),
        event("node", "n1"),
        event("network", "x"),
        event("secret", "x"),
        event("config", "x"),
    ];
    let (client, fake, _folder) = client(&[("GET /events", Answer(200, lines.join("\n") + "\n", false))]).await;
    let hints: Vec<_> = client.events().collect().await;
    let hints: Vec<_> = hints.into_iter().collect::<Result<_, _>>().unwrap();
    let expected = [Hint::Service("s1".into()), Hint::Node("n1".into()), Hint::Network, Hint::Secret, Hint::Config];
    assert_eq!(hints, expected);
    assert!(fake.asked().pop().unwrap().0.starts_with("GET /v1.51/events?filters="));
}
