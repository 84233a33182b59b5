//! FAULTS R6 to R8: caps, and what somebody who comes too many learns.

mod support;

use framewise::Echo;
use framewise::config::Config;
use support::*;

/// Leaves, and waits until the server has noticed.
fn leave(server: &TestServer, client: Client) {
    let before = server.snapshot().peers;
    client.leave();
    server.wait_for("it has left", |now| now.peers < before);
}

/// R8: beyond the cap a request is answered 503, in the language that it asks for, until there is room again.
#[test]
fn beyond_the_cap_a_request_is_answered_503() {
    let config = Config { max_connections: Some(2), ..any_origin() };
    let server = TestServer::start(config, Echo::default());
    let (first, second) = (Client::open(server.address), Client::open(server.address));
    for ask in
        [request("Accept-Language: pt-BR\r\n"), b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()]
    {
        let mut third = Client::connect(server.address);
        third.send(&ask);
        let answer = third.answer();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("Retry-After"), "5");
        let label = if answer.header("Content-Language") == "pt" { "seção" } else { "section" };
        assert_eq!(answer.taught(label), "RFC 9110 15.6.4");
        drop(third);
        server.wait_for("the refused one is gone", |now| now.peers == 2);
    }
    leave(&server, first);
    let mut third = Client::open(server.address);
    third.send(&frame(0x81, b"hi"));
    third.expect(b"\x81\x02hi");
    third.leave();
    second.leave();
    server.is_back_to_baseline();
}

/// R8: one address cannot take all places.
#[test]
fn beyond_the_cap_of_an_address_a_request_is_answered_429() {
    let config = Config { max_per_address: Some(1), ..any_origin() };
    let server = TestServer::start(config, Echo::default());
    let first = Client::open(server.address);
    let mut second = Client::connect(server.address);
    second.send(&request(""));
    let answer = second.answer();
    assert_eq!((answer.status, answer.header("Retry-After")), (429, "5"));
    assert_eq!(answer.taught("section"), "RFC 6585 4");
    drop(second);
    leave(&server, first);
    server.is_back_to_baseline();
}

/// R8: at most 32 are being refused at a time; the others wait in the backlog and are served when it is their turn.
#[test]
fn beyond_the_reserved_places_accepting_pauses() {
    let config = Config { max_connections: Some(1), ..any_origin() };
    let server = TestServer::start(config, Echo::default());
    let first = Client::open(server.address);
    let mut others: Vec<Client> = (0..40).map(|_| Client::connect(server.address)).collect();
    server.wait_for("all reserved places are taken", |now| now.peers == 33);
    leave(&server, first);
    // A handle's question is answered in a pass of its own: more are not accepted.
    assert_eq!(server.handle.snapshot().expect("it runs").connections(), 32);
    others.iter_mut().for_each(|client| client.send(&request("")));
    let mut statuses: Vec<u16> =
        others[..32].iter_mut().map(|client| client.answer().status).collect();
    statuses.dedup();
    assert_eq!(
        statuses,
        [503],
        "who was accepted beyond the cap is refused, whoever has left since"
    );
    others.drain(..32);
    let mut opened = others.remove(0);
    opened.expect(SWITCHING);
    opened.leave();
    drop(others);
    server.is_back_to_baseline();
}

/// Opening handshakes that are under way have their own cap; beyond it accepting pauses, and goes on.
#[test]
fn accepting_pauses_while_too_many_handshakes_are_under_way() {
    let config = Config { max_handshakes: 2, ..any_origin() };
    let server = TestServer::start(config, Echo::default());
    let first = Client::connect(server.address);
    let second = Client::connect(server.address);
    server.wait_for("the cap is reached", |now| now.peers == 2);
    let mut third = Client::connect(server.address);
    third.send(&[request(""), frame(0x81, b"hi")].concat());
    assert_eq!(server.handle.snapshot().expect("it runs").connections(), 2);
    drop(first);
    third.expect(&[SWITCHING, b"\x81\x02hi"].concat());
    drop(second);
    third.leave();
    server.is_back_to_baseline();
}

/// R10: connections that come and go, half of them by reset, leave nothing behind.
#[test]
fn a_storm_of_connections_leaves_nothing_behind() {
    let server = TestServer::echo();
    let mut witness = Client::open(server.address);
    for round in 0..10_000u32 {
        let mut client = Client::connect(server.address);
        match round % 4 {
            0 => {}
            1 => client.send(&request("")[..(round % 100) as usize]),
            // An answer that nobody reads makes the kernel of the client send a reset.
            _ => client.send(b"no request\r\n\r\n"),
        }
        drop(client);
        if round % 64 == 0 {
            // The backlog is short; who is served has seen everybody before accepted.
            witness.send(&frame(0x81, b"here"));
            witness.expect(b"\x81\x04here");
            server.wait_for("those before are gone", |now| now.peers <= 64);
        }
    }
    witness.leave();
    server.is_back_to_baseline();
}
