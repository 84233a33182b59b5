//! Rooms, names, private messages, presence and errors, over real sockets.

mod support;

use framewise::ClientRequest;
use framewise::Message;
use framewise::MessageBuf;
use framewise::{Cause, CloseCode, Closed};
use serde_json::{Value, json};
use support::{Peer, Serve, line_with};

/// Joins a room under a name, which is answered.
fn join(peer: &mut Peer, room: &str, name: &str) {
    peer.send(&json!({"type": "join", "room": room, "name": name}).to_string());
    assert_eq!(peer.json(), json!({"type": "joined", "room": room, "name": name}));
}

fn with_presence(request: ClientRequest) -> ClientRequest {
    request.subprotocol("framewise.classroom").expect("a token")
}

/// What one client sends has reached the server before what another one does, as soon as it was answered.
fn settle(peer: &mut Peer) {
    peer.hears_nothing();
}

#[test]
fn echo_answers_text_and_bytes() {
    let serve = Serve::start(&[]);
    for path in ["/", "/echo"] {
        let mut peer = serve.connect(path);
        assert_eq!(peer.send("olá").text(), "Echo: olá");
        assert!(peer.0.send(Message::Binary(&[0, 255])).expect("open"));
        assert_eq!(peer.message(), MessageBuf::from(vec![0, 255]));
    }
}

#[test]
fn an_event_reaches_all_others_in_its_room_and_nobody_else() {
    let serve = Serve::start(&[]);
    let mut ana = serve.connect("/ws/events");
    let mut bia = serve.connect("/ws/events");
    let mut raw = serve.connect("/ws");
    let mut elsewhere = serve.connect("/ws/events?room=7a");
    let mut elsewhere_raw = serve.connect("/ws?room=7a");
    for peer in [&mut bia, &mut raw, &mut elsewhere, &mut elsewhere_raw] {
        settle(peer);
    }
    ana.send(r#"{"message": "Olá"}"#);
    let said = bia.json();
    assert_eq!((&said["message"], &said["room"]), (&json!("Olá"), &json!("lobby")));
    assert!(said.get("from").is_none() && said.get("to").is_none(), "{said}");
    let timestamp = said["timestamp"].as_str().expect("a time");
    assert!(timestamp.len() == 27 && timestamp.ends_with('Z'), "{timestamp}");
    assert_eq!(raw.text(), "Olá");
    for peer in [&mut ana, &mut bia, &mut raw, &mut elsewhere, &mut elsewhere_raw] {
        peer.hears_nothing();
    }
}

#[test]
fn raw_text_reaches_raw_clients_as_it_is_and_event_clients_as_an_event() {
    let serve = Serve::start(&[]);
    let mut sender = serve.connect("/ws?room=sala%207");
    let mut raw = serve.connect("/ws?room=sala%207");
    let mut events = serve.connect("/ws/events?room=sala+7");
    settle(&mut raw);
    settle(&mut events);
    sender.send("{\"message\": 1}");
    assert_eq!(raw.text(), "{\"message\": 1}");
    let said = events.json();
    assert_eq!((&said["message"], &said["room"]), (&json!("{\"message\": 1}"), &json!("sala 7")));
    assert!(sender.0.send(Message::Binary(b"\x00\x01")).expect("open"));
    assert_eq!(raw.message(), MessageBuf::from(b"\x00\x01".to_vec()));
    events.hears_nothing();
    sender.hears_nothing();
}

#[test]
fn a_private_message_reaches_one_across_rooms() {
    let serve = Serve::start(&[]);
    let mut ana = serve.connect("/ws/events");
    let mut bia = serve.connect("/ws/events");
    let mut caio = serve.connect("/ws/events");
    join(&mut ana, "7a", "ana");
    join(&mut bia, "8b", "bia");
    join(&mut caio, "8b", "caio");
    ana.send(r#"{"message": "só você", "to": "bia"}"#);
    let said = bia.json();
    assert_eq!(said["message"], "só você");
    assert_eq!((&said["from"], &said["to"]), (&json!("ana"), &json!("bia")));
    caio.hears_nothing();
    ana.hears_nothing();
    ana.send(r#"{"message": "?", "to": "davi"}"#);
    assert_eq!(ana.json()["error"]["code"], "no_such_peer");
}

#[test]
fn names_are_unique_and_free_again_when_their_owner_goes() {
    let serve = Serve::start(&[]);
    let mut ana = serve.connect("/ws/events");
    let mut other = serve.connect("/ws/events?room=7a");
    join(&mut ana, "lobby", "ana");
    other.send(r#"{"type": "join", "name": "ana"}"#);
    assert_eq!(other.json()["error"]["code"], "name_taken");
    // Her own name again is no fault, and a new name frees the old one.
    join(&mut ana, "lobby", "ana");
    join(&mut ana, "lobby", "ana maria");
    join(&mut other, "7a", "ana");
    ana.0.close(CloseCode::NORMAL, "").expect("a valid code");
    join(&mut other, "7a", "ana maria");
}

#[test]
fn names_that_look_the_same_are_the_same() {
    let serve = Serve::start(&[]);
    let mut jose = serve.connect("/ws/events");
    let mut other = serve.connect("/ws/events?room=s%C3%A3o");
    // The accent as a character of its own.
    jose.send(r#"{"type": "join", "name": "Jose\u0301", "room": "sa\u0303o"}"#);
    assert_eq!(jose.json(), json!({"type": "joined", "room": "são", "name": "José"}));
    for name in ["José", "Jos\u{e9}\u{200d}", "Jose\u{200d}\u{301}"] {
        other.send(&json!({"type": "join", "name": name}).to_string());
        assert_eq!(other.json()["error"]["code"], "name_taken", "{name:?}");
    }
    other.send(&json!({"type": "join", "name": "José\u{200b}"}).to_string());
    let error = other.json();
    assert_eq!(error["error"]["code"], "invalid_name");
    assert!(error["error"]["message"].as_str().expect("text").contains("U+200B"), "{error}");
    other.send(r#"{"message": "oi", "to": "Jose\u0301"}"#);
    let said = jose.json();
    assert_eq!((&said["message"], &said["to"]), (&json!("oi"), &json!("José")));
    // A room that looks the same is the same, and has the name that its first member gave it.
    for room in ["sã\u{200d}o", "SÃO", "s\u{e3}\u{43e}", "\u{ff53}ão"] {
        other.send(r#"{"type": "leave"}"#).json();
        other.send(&json!({"type": "join", "room": room, "name": "maria"}).to_string());
        assert_eq!(other.json(), json!({"type": "joined", "room": "são", "name": "maria"}));
        other.send(r#"{"message": "aqui"}"#);
        let said = jose.json();
        assert_eq!((&said["message"], &said["room"]), (&json!("aqui"), &json!("são")));
    }
}

#[test]
fn look_alike_names_are_refused_with_the_existing_name_and_a_free_one() {
    let serve = Serve::start(&[]);
    let english =
        |request: ClientRequest| request.header("Accept-Language", "en").expect("a header");
    let mut owner = serve.connect("/ws/events");
    let mut other = serve.connect_as("/ws/events", english);
    for (existing, wanted) in [
        ("ana", "ana"),
        ("ana", "Ana"),
        ("ana", "\u{430}na"),
        ("ana", "\u{410}NA"),
        ("ana", "\u{ff21}\u{ff4e}\u{ff41}"),
        ("maria", "rnaria"),
        ("will", "wi1I"),
        ("Weiß", "WEISS"),
        ("inci", "\u{130}NC\u{130}"),
        ("inci", "\u{131}nc\u{131}"),
    ] {
        join(&mut owner, "lobby", existing);
        other.send(&json!({"type": "join", "name": wanted}).to_string());
        let error = other.json()["error"].take();
        assert_eq!(error["code"], "name_taken", "{wanted}");
        assert_eq!(error["existing"], existing);
        let text = error["message"].as_str().expect("text");
        let free = error["free"].as_str().expect("a name");
        assert!(text.contains(&format!("'{existing}'")), "{text}");
        assert!(text.contains(&format!("'{free}' is free")), "{text}");
        assert!(free.starts_with(&format!("{wanted} ")), "{free}");
        // What is proposed can be had.
        join(&mut other, "lobby", free);
    }
    // A name of one's own may change its case.
    join(&mut owner, "lobby", "INCI");
    // A private message reaches a name in any case, but not one that only looks like it.
    other.send(r#"{"message": "oi", "to": "inci"}"#);
    assert_eq!(owner.json()["to"], "INCI");
    other.send(&json!({"message": "oi", "to": "INC\u{406}"}).to_string());
    // Its answer comes after the error.
    other.send(r#"{"type": "leave"}"#);
    assert_eq!(other.json()["error"]["code"], "no_such_peer");
    assert_eq!(other.json()["type"], "left");
    owner.hears_nothing();
}

#[test]
fn the_lobby_is_the_lobby_however_it_is_spelled() {
    let serve = Serve::start(&[]);
    let mut first = serve.connect("/ws/events?room=LOBBY");
    first.send(r#"{"type": "who"}"#);
    assert_eq!(first.json()["room"], "lobby");
    let mut ana = serve.connect("/ws/events");
    join(&mut ana, "lobby", "ana");
    ana.send(r#"{"message": "oi"}"#);
    assert_eq!(first.json()["message"], "oi");
    // The name of a room is free when its last member has left.
    ana.send(r#"{"type": "join", "room": "7a"}"#);
    assert_eq!(ana.json()["room"], "7a");
    first.send(r#"{"type": "join", "room": "7A"}"#);
    assert_eq!(first.json()["room"], "7a");
    for peer in [&mut ana, &mut first] {
        assert_eq!(peer.send(r#"{"type": "leave"}"#).json()["room"], "7a");
    }
    first.send(r#"{"type": "join", "room": "7A"}"#);
    assert_eq!(first.json()["room"], "7A");
}

#[test]
fn a_message_to_ones_own_name_comes_back() {
    let serve = Serve::start(&[]);
    let mut ana = serve.connect("/ws/events");
    join(&mut ana, "lobby", "ana");
    assert_eq!(ana.send(r#"{"message": "lembrete", "to": "ana"}"#).json()["message"], "lembrete");
    ana.hears_nothing();
}

#[test]
fn long_raw_text_reaches_event_clients_cut_to_what_they_may_say() {
    let serve = Serve::start(&[]);
    let mut raw = serve.connect("/ws");
    let mut events = serve.connect("/ws/events");
    settle(&mut events);
    raw.send(&"é".repeat(20_000));
    let said = events.json();
    let text = said["message"].as_str().expect("text");
    assert_eq!(text.chars().count(), 16_384);
    assert!(text.ends_with("é…"));
}

#[test]
fn join_leave_and_who_answer() {
    let serve = Serve::start(&[]);
    let mut ana = serve.connect("/ws/events");
    let mut bia = serve.connect("/ws/events?room=7a");
    let mut raw = serve.connect("/ws?room=7a");
    settle(&mut bia);
    settle(&mut raw);
    join(&mut ana, "7a", "ana");
    assert_eq!(
        ana.send(r#"{"type": "who"}"#).json(),
        json!({"type": "who", "room": "7a", "names": ["ana"], "unnamed": 2})
    );
    assert_eq!(ana.send(r#"{"type": "leave"}"#).json(), json!({"type": "left", "room": "7a"}));
    assert_eq!(
        ana.send(r#"{"type": "who"}"#).json(),
        json!({"type": "who", "room": "lobby", "names": ["ana"], "unnamed": 0})
    );
    assert_eq!(ana.send(r#"{"type": "leave"}"#).json(), json!({"type": "left", "room": "lobby"}));
    // Somebody who only speaks {"message"} heard none of it.
    bia.hears_nothing();
    raw.hears_nothing();
}

#[test]
fn who_comes_and_goes_is_told_to_those_who_asked_for_it() {
    let serve = Serve::start(&[]);
    let mut watcher = serve.connect_as("/ws/events?room=7a", with_presence);
    assert_eq!(watcher.0.subprotocol(), Some("framewise.classroom"));
    settle(&mut watcher);
    let mut ana = serve.connect("/ws/events");
    join(&mut ana, "7a", "ana");
    assert_eq!(watcher.json(), json!({"type": "peer_joined", "room": "7a", "name": "ana"}));
    ana.send(r#"{"type": "leave"}"#).json();
    assert_eq!(watcher.json(), json!({"type": "peer_left", "room": "7a", "name": "ana"}));
    join(&mut ana, "7a", "ana");
    watcher.json();
    // Another name: the old one went, the new one came, in the same room and across rooms.
    join(&mut ana, "7a", "ana maria");
    assert_eq!(watcher.json(), json!({"type": "peer_left", "room": "7a", "name": "ana"}));
    assert_eq!(watcher.json(), json!({"type": "peer_joined", "room": "7a", "name": "ana maria"}));
    // The same name again is no news.
    join(&mut ana, "7a", "ana maria");
    join(&mut ana, "8b", "ana");
    assert_eq!(watcher.json(), json!({"type": "peer_left", "room": "7a", "name": "ana maria"}));
    join(&mut ana, "7a", "maria");
    assert_eq!(watcher.json(), json!({"type": "peer_joined", "room": "7a", "name": "maria"}));
    drop(ana);
    assert_eq!(watcher.json(), json!({"type": "peer_left", "room": "7a", "name": "maria"}));
    watcher.hears_nothing();
}

/// One's own answers and the news about others have different types, so that a client never takes one for the other.
#[test]
fn news_about_others_is_not_ones_own_answer() {
    let serve = Serve::start(&[]);
    let mut ana = serve.connect_as("/ws/events", with_presence);
    let mut bia = serve.connect_as("/ws/events", with_presence);
    assert_eq!(ana.json(), json!({"type": "peer_joined", "room": "lobby"}));
    join(&mut ana, "7a", "ana");
    assert_eq!(bia.json(), json!({"type": "peer_left", "room": "lobby"}));
    join(&mut bia, "7a", "bia");
    assert_eq!(ana.json(), json!({"type": "peer_joined", "room": "7a", "name": "bia"}));
    let left = bia.send(r#"{"type": "leave"}"#).json();
    assert_eq!(left, json!({"type": "left", "room": "7a"}));
    assert_eq!(ana.json(), json!({"type": "peer_left", "room": "7a", "name": "bia"}));
    ana.hears_nothing();
    bia.hears_nothing();
}

/// Removes a field of an event and returns it.
fn take(event: &mut Value, field: &str) -> Value {
    event.as_object_mut().and_then(|fields| fields.remove(field)).unwrap_or_default()
}

/// Asks for the history, and returns the numbers and texts of its messages, and the rest of the event.
fn history(peer: &mut Peer, question: Value) -> (Vec<(u64, String)>, Value) {
    let mut event = peer.send(&question.to_string()).json();
    let messages = take(&mut event, "messages");
    let said = messages.as_array().into_iter().flatten().map(|said| {
        let text = said["message"].as_str().expect("a text").to_owned();
        (said["seq"].as_u64().expect("a number"), text)
    });
    (said.collect(), event)
}

#[test]
fn a_client_that_comes_back_gets_exactly_what_it_has_missed() {
    let serve = Serve::start(&["--history", "5"]);
    let mut bia = serve.connect("/ws/events?client=bia-0123456789abcdef");
    let mut raw = serve.connect("/ws");
    settle(&mut bia);
    let mut ack = bia.send(r#"{"message": "one", "id": "b1"}"#).json();
    let epoch = take(&mut ack, "epoch");
    assert_eq!(raw.text(), "one");
    drop(bia);
    for text in ["two", "three"] {
        raw.send(text);
    }
    let mut ana = serve.connect("/ws/events");
    // A client that joins later receives the conversation when it asks for it.
    let (said, rest) = loop {
        let (said, rest) = history(&mut ana, json!({"type": "history"}));
        if said.len() == 3 {
            break (said, rest);
        }
    };
    let texts = |texts: &[(u64, &str)]| -> Vec<(u64, String)> {
        texts.iter().map(|(seq, text)| (*seq, (*text).to_owned())).collect()
    };
    assert_eq!(said, texts(&[(1, "one"), (2, "two"), (3, "three")]));
    assert_eq!(rest, json!({"type": "history", "room": "lobby", "epoch": epoch, "seq": 3}));
    // From then on its events have numbers.
    raw.send("four");
    assert_eq!(ana.json()["seq"], 4);

    let mut bia = serve.connect("/ws/events?client=bia-0123456789abcdef");
    let after = |seq: u64| json!({"type": "history", "after": seq, "epoch": epoch});
    let (said, _) = history(&mut bia, after(1));
    assert_eq!(said, texts(&[(2, "two"), (3, "three"), (4, "four")]));
    assert_eq!(history(&mut bia, after(4)).0, []);
    // Its own message has the id that it gave to it, and nobody else learns that.
    let own = bia.send(&after(0).to_string()).json();
    assert_eq!(own["messages"][0]["id"], "b1");
    assert_eq!(ana.send(&after(0).to_string()).json()["messages"][0]["id"], Value::Null);
    // A limit cuts the answer, and says so.
    let (said, rest) = history(&mut bia, json!({"type": "history", "after": 0, "limit": 2}));
    assert_eq!((said, rest["more"].clone()), (texts(&[(1, "one"), (2, "two")]), json!(true)));

    // Beyond the limit of the room, the oldest messages go.
    raw.send("five");
    raw.send("six");
    assert_eq!((bia.json()["seq"].clone(), bia.json()["seq"].clone()), (json!(5), json!(6)));
    for question in [
        json!({"type": "history", "after": 0, "id": "h1"}),
        json!({"type": "history", "after": 5, "epoch": "0123456789abcdef", "id": "h1"}),
        json!({"type": "history", "after": 7, "id": "h1"}),
        json!({"type": "history", "after": u64::MAX, "id": "h1"}),
    ] {
        let gap = bia.send(&question.to_string()).json();
        assert_eq!((&gap["id"], &gap["error"]["code"]), (&json!("h1"), &json!("history_gap")));
        let kept = bia.json();
        assert_eq!(kept["messages"][0]["message"], "two", "{question}");
        assert_eq!(kept["messages"].as_array().map(Vec::len), Some(5));
    }
}

#[test]
fn history_is_of_one_room_and_never_private() {
    let serve = Serve::start(&[]);
    let (mut ana, mut bia) = (serve.connect("/ws/events?room=7a"), serve.connect("/ws/events"));
    ana.send(r#"{"type": "join", "name": "ana"}"#).json();
    bia.send(r#"{"message": "in private", "to": "ana", "id": "1"}"#);
    let mut ack = bia.json();
    assert_eq!(take(&mut ack, "seq"), Value::Null);
    assert_eq!(ana.json()["message"], "in private");
    bia.send(r#"{"message": "in the lobby"}"#);
    assert_eq!(history(&mut ana, json!({"type": "history"})).0, []);
    let (said, _) = history(&mut bia, json!({"type": "history"}));
    assert_eq!(said, [(1, "in the lobby".to_owned())]);
    // A room without members is still there, under its own name.
    drop(bia);
    let mut rui = serve.connect("/ws/events?room=LOBBY");
    let (said, rest) = history(&mut rui, json!({"type": "history"}));
    assert_eq!((said.len(), &rest["room"]), (1, &json!("lobby")));
}

#[test]
fn nothing_is_kept_without_history() {
    let serve = Serve::start(&["--history", "0"]);
    let mut ana = serve.connect("/ws/events");
    assert_eq!(ana.send(r#"{"message": "one", "id": "1"}"#).json()["seq"], 1);
    let gap = ana.send(r#"{"type": "history", "after": 0}"#).json();
    assert_eq!(gap["error"]["code"], "history_gap");
    assert_eq!(ana.json()["messages"], json!([]));
    assert_eq!(history(&mut ana, json!({"type": "history", "after": 1})).0, []);
}

/// A client that asks for nothing of all this hears what it has always heard.
#[test]
fn a_plain_client_gets_no_numbers() {
    let serve = Serve::start(&[]);
    let (mut ana, mut bia) = (serve.connect("/ws/events"), serve.connect("/ws/events"));
    let mut carla = serve.connect_as("/ws/events", with_presence);
    settle(&mut bia);
    settle(&mut carla);
    ana.send(r#"{"message": "one"}"#);
    assert_eq!(bia.json().as_object().map(|said| said.contains_key("seq")), Some(false));
    assert_eq!(carla.json()["seq"], 1);
}

#[test]
fn every_event_with_an_id_is_answered_with_it() {
    let serve = Serve::start(&[]);
    let mut ana = serve.connect("/ws/events");
    let mut bia = serve.connect("/ws/events");
    let longest = "é".repeat(64);
    let ack = |id: &str| json!({"type": "ack", "id": id});
    let mut said = ana.send(&json!({"message": "Olá", "id": longest}).to_string()).json();
    // A message also has its place in the history of the room.
    assert_eq!(take(&mut said, "seq"), 1);
    assert_eq!(take(&mut said, "epoch").as_str().map(str::len), Some(16));
    assert_eq!(said, ack(&longest));
    assert_eq!(bia.json()["message"], "Olá");
    // An answer comes first, and then the acknowledgement.
    for (event, answer) in [
        (
            r#"{"type": "join", "name": "ana", "id": "1"}"#,
            json!({"type": "joined", "room": "lobby", "name": "ana"}),
        ),
        (
            r#"{"type": "who", "id": "2"}"#,
            json!({"type": "who", "room": "lobby", "names": ["ana"], "unnamed": 1}),
        ),
        (r#"{"type": "leave", "id": "3"}"#, json!({"type": "left", "room": "lobby"})),
        (r#"{"type": "ping", "id": "4"}"#, json!({"type": "pong"})),
    ] {
        assert_eq!(ana.send(event).json(), answer);
        assert_eq!(ana.json()["type"], "ack", "{event}");
    }
    assert_eq!(ana.send(r#"{"type": "ping"}"#).json(), json!({"type": "pong"}));
    for (event, id, code) in [
        (r#"{"id": "c1"}"#, Some("c1"), "missing_message"),
        (r#"{"id": "c2", "type": "dance"}"#, Some("c2"), "unknown_type"),
        (r#"{"id": "c3", "message": "?", "to": "davi"}"#, Some("c3"), "no_such_peer"),
        (r#"{"message": "\ud83d", "id": "c4"}"#, Some("c4"), "lone_surrogate"),
        (r#"{"message": "not sent", "id": 5}"#, None, "invalid_id"),
        (r#"{"message": "not sent", "id": ""}"#, None, "invalid_id"),
        (
            &json!({"message": "not sent", "id": format!("{longest}é")}).to_string(),
            None,
            "invalid_id",
        ),
    ] {
        let error = ana.send(event).json();
        assert_eq!((&error["type"], &error["error"]["code"]), (&json!("error"), &json!(code)));
        assert_eq!(error.get("id").and_then(|id| id.as_str()), id, "{event}");
    }
    // Without an id there is no acknowledgement, and others never see an id.
    ana.send(r#"{"message": "sem id"}"#).hears_nothing();
    let said = bia.json();
    assert_eq!((&said["message"], said.get("id")), (&json!("sem id"), None));
    bia.hears_nothing();
}

/// A message that comes again with the same id is acknowledged again, and delivered once.
#[test]
fn a_repeated_id_is_delivered_once() {
    let serve = Serve::start(&[]);
    let mut ana = serve.connect("/ws/events");
    let mut bia = serve.connect("/ws/events");
    let mut raw = serve.connect("/ws");
    settle(&mut raw);
    join(&mut bia, "lobby", "bia");
    let say = |peer: &mut Peer, event: serde_json::Value| {
        let answer = peer.send(&event.to_string()).json();
        assert_eq!(answer["id"], event["id"]);
        answer["type"].clone()
    };
    for _ in 0..3 {
        assert_eq!(say(&mut ana, json!({"message": "uma vez", "id": "1"})), "ack");
        assert_eq!(
            say(&mut ana, json!({"message": "em particular", "to": "bia", "id": "2"})),
            "ack"
        );
    }
    assert_eq!(bia.json()["message"], "uma vez");
    assert_eq!(bia.json()["message"], "em particular");
    assert_eq!(raw.text(), "uma vez");
    // The ids of others are their own.
    assert_eq!(say(&mut bia, json!({"message": "da bia", "id": "1"})), "ack");
    assert_eq!(ana.json()["message"], "da bia");
    assert_eq!(raw.text(), "da bia");
    // What was not delivered may be tried again.
    let late = json!({"message": "enfim", "to": "caio", "id": "3"});
    assert_eq!(say(&mut ana, late.clone()), "error");
    join(&mut bia, "lobby", "caio");
    assert_eq!(say(&mut ana, late), "ack");
    assert_eq!(bia.json()["message"], "enfim");
    for peer in [&mut ana, &mut bia, &mut raw] {
        peer.hears_nothing();
    }
}

/// `?client=` makes two connections one sender: the second one repeats what the first one may have lost.
#[test]
fn an_id_is_remembered_across_the_connections_of_a_client() {
    let serve = Serve::start(&[]);
    let mut bia = serve.connect("/ws/events");
    settle(&mut bia);
    let path = "/ws/events?client=0123456789abcdef";
    let say = |peer: &mut Peer, text: &str, seq: u64| {
        let event = json!({"message": text, "id": "1"});
        let mut ack = peer.send(&event.to_string()).json();
        // The place of the first delivery.
        assert_eq!(take(&mut ack, "seq"), seq);
        assert_eq!(take(&mut ack, "epoch").as_str().map(str::len), Some(16));
        assert_eq!(ack, json!({"type": "ack", "id": "1"}));
    };
    let mut first = serve.connect(path);
    say(&mut first, "uma vez", 1);
    assert_eq!(bia.json()["message"], "uma vez");
    // While the first connection is still open, and after it has closed.
    let mut second = serve.connect(path);
    say(&mut second, "uma vez", 1);
    first.0.close(CloseCode::NORMAL, "").expect("a valid code");
    second.0.close(CloseCode::NORMAL, "").expect("a valid code");
    say(&mut serve.connect(path), "uma vez", 1);
    bia.hears_nothing();
    // Another client, and connections without one, are other senders.
    say(&mut serve.connect("/ws/events?client=0123456789abcdeF"), "outro cliente", 2);
    assert_eq!(bia.json()["message"], "outro cliente");
    for (text, seq) in [("sem cliente", 3), ("sem cliente outra vez", 4)] {
        say(&mut serve.connect("/ws/events"), text, seq);
        assert_eq!(bia.json()["message"], text);
    }
    for bad in ["short", "with%20a%20space%20in%20it", "%ff0123456789abcdef", &"x".repeat(65)] {
        let answer = serve.http(&format!("/ws/events?client={bad}"), "Accept-Language: en\r\n");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("client is a random text of 16 to 64 letters"), "{answer}");
    }
}

#[test]
fn every_fault_is_an_event_and_the_connection_stays() {
    let serve = Serve::start(&["--lang", "pt"]);
    let mut peer = serve.connect_as("/ws/events", |request| {
        request.header("Accept-Language", "en").expect("a header")
    });
    let long = json!({"message": "é".repeat(16_385)}).to_string();
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    for (event, code) in [
        ("{", "invalid_json"),
        (r#"{"message": "\ud83d"}"#, "lone_surrogate"),
        (r#"{"message": "a", "n": 1e999}"#, "number_out_of_range"),
        (&deep, "too_deep"),
        ("[]", "invalid_message"),
        ("{}", "missing_message"),
        (r#"{"type": "dance"}"#, "unknown_type"),
        (r#"{"type": "join", "name": "\u0000"}"#, "invalid_name"),
        (&long, "too_long"),
    ] {
        let error = peer.send(event).json();
        assert_eq!((&error["type"], &error["error"]["code"]), (&json!("error"), &json!(code)));
    }
    assert!(peer.0.send(Message::Binary(b"{}")).expect("open"));
    assert_eq!(peer.json()["error"]["code"], "invalid_message");
    let place = peer.send("{\"a\":\n x}").json();
    assert_eq!((&place["error"]["line"], &place["error"]["column"]), (&json!(2), &json!(2)));
    assert_eq!(peer.send("\u{feff}{\"type\": \"leave\"}").json()["type"], "left");
    // In the language of the client, not of the server.
    assert_eq!(
        peer.send("{}").json()["error"]["message"].as_str().expect("text").split(' ').next(),
        Some("say")
    );
    assert_eq!(serve.json("/health")["connections"], 1);
}

/// Sends lines to a path as fast as the server takes them, and closes. Returns the peer, which has received nothing yet.
fn talker(serve: &Serve, path: &str, lines: usize) -> std::thread::JoinHandle<Closed> {
    let mut talker = serve.connect(path);
    std::thread::spawn(move || {
        for n in 0..lines {
            assert!(talker.0.send(Message::from(&n.to_string())).expect("it takes bytes"));
        }
        talker.0.close(CloseCode::NORMAL, "").expect("a valid close")
    })
}

/// A client beyond its budget is read more slowly. Nothing that it sends is lost, and its Close is answered in turn.
#[test]
fn a_client_over_its_budget_loses_nothing() {
    const LINES: usize = 10_000;
    // 4,000 at once, and the rest in three seconds.
    let serve = Serve::start(&["--rate", "2000", "--close-timeout", "30"]);
    let mut listener = serve.connect("/ws");
    let talker = talker(&serve, "/ws", LINES);
    for n in 0..LINES {
        assert_eq!(listener.text(), n.to_string());
    }
    let closed = talker.join().expect("no panic");
    assert_eq!((closed.code, closed.cause), (CloseCode::NORMAL, Cause::Local));
    // The same with echoes: one burst, and then all replies.
    let mut echo = serve.connect("/echo");
    for n in 0..LINES {
        assert!(echo.0.send(Message::from(&n.to_string())).expect("it takes bytes"));
    }
    for n in 0..LINES {
        assert_eq!(echo.text(), format!("Echo: {n}"));
    }
    let metrics = serve.http("/metrics", "");
    let pauses = metrics.lines().find_map(|line| line.strip_prefix("framewise_slowed_down_total "));
    assert!(pauses.and_then(|count| count.parse::<u32>().ok()) > Some(0), "{metrics}");
}

/// An event client is told once in a minute, and the log has one line with its name and room.
#[test]
fn a_client_over_its_budget_is_told_once() {
    let (serve, log) = Serve::start_logged(&["--rate", "100"]);
    let mut peer = serve.connect("/ws/events?room=7a");
    peer.send(r#"{"type": "join", "name": "ana"}"#).json();
    for _ in 0..210 {
        assert!(peer.0.send(Message::from("{}")).expect("it takes bytes"));
    }
    let kinds: Vec<_> = (0..211).map(|_| peer.json()["type"].clone()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "slowed_down").count(), 1);
    assert_eq!(kinds.iter().filter(|kind| **kind == "error").count(), 210);
    let line = line_with(&log, "--rate-bytes");
    assert!(line.contains("name=\"ana\" room=\"7a\""), "{line}");
    assert!(log.try_iter().all(|line| !line.contains("--rate-bytes")));
}

/// Bytes have a budget of their own, so that few large messages do not fill the outputs of a room either.
#[test]
fn large_messages_are_slowed_down_and_not_lost() {
    let serve = Serve::start(&["--rate-bytes", "2000000", "--max-message", "1000000"]);
    let mut listener = serve.connect("/ws");
    let mut talker = serve.connect("/ws");
    for n in 0..60u8 {
        assert!(talker.0.send(Message::Binary(&[n; 48_000])).expect("it takes bytes"));
    }
    for n in 0..60u8 {
        assert_eq!(listener.message().bytes(), [n; 48_000]);
    }
    let metrics = serve.http("/metrics", "");
    assert!(!metrics.contains("framewise_slowed_down_total 0\n"), "{metrics}");
}

/// One line for each join, leave and close, with name, room and address, and no text of a message unless it is asked for.
#[test]
fn the_log_tells_who_comes_and_goes() {
    let (serve, log) = Serve::start_logged(&[]);
    let mut ana = serve.connect("/ws/events?room=7a");
    line_with(&log, "path=\"/ws/events\" room=\"7a\"");
    join(&mut ana, "7b", "ana");
    line_with(&log, "name=\"ana\" room=\"7b\" before=\"7a\"");
    ana.send(r#"{"message": "a secret"}"#);
    ana.send(r#"{"type": "leave"}"#).json();
    line_with(&log, "name=\"ana\" room=\"lobby\" before=\"7b\"");
    ana.0.close(CloseCode(4000), "até logo").expect("a valid close");
    let line = line_with(&log, "code=4000");
    assert!(line.contains("address=127.0.0.1 name=\"ana\" room=\"lobby\""), "{line}");
    assert!(line.contains("reason=\"até logo\""), "{line}");
    // An unmasked frame.
    let mut bia = serve.connect("/ws");
    bia.0.send_raw(b"\x81\x02hi").expect("it takes bytes");
    let line = line_with(&log, "code=1002");
    assert!(line.contains("WARN") && line.contains("room=\"lobby\""), "{line}");
    assert!(line.contains("a client must mask every frame"), "{line}");
    serve.http("/health", "");
    assert!(log.try_iter().all(|line| !line.contains("secret") && !line.contains("HTTP")));

    let (serve, log) = Serve::start_logged(&["--log-messages"]);
    line_with(&log, "--log-messages");
    let mut ana = serve.connect("/ws/events");
    ana.send(r#"{"message": "a secret"}"#);
    line_with(&log, "a secret");
}
