//! Limits on the number of connections, and the responses to excess connections (R6 to R8).

mod support;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use framewise::{Application, Decision, Echo, Message, Opened, Outbox, Request, Response};
use support::stage::*;
use support::*;

/// Closes a connection and waits until the server has released it.
fn leave<A: Application + Send + 'static>(server: &TestServer<A>, client: Client) {
    let before = server.snapshot().peers;
    client.leave();
    server.wait_for("it has left", |now| now.peers < before);
}

/// R8: an excess connection gets 503, in the language of its request, until there is room again.
#[test]
fn an_excess_connection_gets_503() {
    let config = any_origin().limits(|limits| limits.max_connections = Some(2));
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
        server.wait_for("the refused connection is gone", |now| now.peers == 2);
    }
    leave(&server, first);
    let mut third = Client::open(server.address);
    third.send(&frame(0x81, b"hi"));
    third.expect(b"\x81\x02hi");
    third.leave();
    second.leave();
    server.is_back_to_baseline();
}

/// R8: one address cannot use up all connections.
#[test]
fn an_excess_connection_from_one_address_gets_429() {
    let config = any_origin().limits(|limits| limits.max_per_address = Some(1));
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

/// What `counted_as` returns for the next connections, the first one first. `None` panics.
struct Counted(VecDeque<Option<IpAddr>>);

impl Application for Counted {
    type Ticket = ();

    fn counted_as(&mut self, from: SocketAddr) -> IpAddr {
        let next = self.0.pop_front();
        next.map_or(from.ip(), |address| address.expect("an address"))
    }

    fn on_request(&mut self, request: &Request<'_>, from: SocketAddr) -> Decision {
        assert!(from.ip().is_loopback(), "it is still the address of the connection");
        match request.is_handshake() {
            true => Decision::ACCEPT,
            false => Decision::Respond(Response::new(200, "text/plain", "a page\n")),
        }
    }

    fn on_open(&mut self, _: &mut Outbox<'_>, _: &Opened<'_>, (): ()) {}

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
    }
}

/// R8: the application names the address that a connection counts as, and by default it is that of the peer.
#[test]
fn a_connection_counts_as_the_address_that_the_application_names() {
    let config = any_origin().limits(|limits| limits.max_per_address = Some(1));
    let [ana, bia]: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
    let mapped = "::ffff:192.0.2.1".parse().expect("an address");
    let named = [Some(ana), Some(bia), None, Some(mapped), Some(bia), Some(ana)];
    let server = TestServer::start(config, Counted(named.into()));
    let refused = || {
        let mut client = Client::connect(server.address);
        client.send(&request(""));
        assert_eq!(client.answer().status, 429);
    };
    let (of_ana, of_bia) = (Client::open(server.address), Client::open(server.address));
    // After a panic, the address of the peer counts.
    let own = Client::open(server.address);
    refused();
    refused();
    server.wait_for("the refused connections are gone", |now| now.peers == 3);
    leave(&server, of_ana);
    let mut of_ana = Client::open(server.address);
    of_ana.send(&frame(0x81, b"hi"));
    of_ana.expect(b"\x81\x02hi");
    // Without a name for it.
    refused();
    server.wait_for("the refused connection is gone", |now| now.peers == 3);
    leave(&server, own);
    for client in [of_ana, of_bia, Client::open(server.address)] {
        leave(&server, client);
    }
    server.is_back_to_baseline();
}

/// R8: an idle connection makes room for one that counts as the same address, wherever both come from.
#[test]
fn an_idle_connection_makes_room_for_one_that_counts_as_its_address() {
    let config = any_origin().limits(|limits| limits.max_per_address = Some(1));
    let [ana, bia]: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
    let named = [Some(ana), Some(bia), Some(ana)];
    let mut stage = stage(config, Counted(named.into()));
    let kept = [stage.connect_from([127, 0, 0, 2]), stage.connect()];
    for actor in &kept {
        stage.send(actor, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    stage.pass();
    stage.connect();
    assert!(!stage.holds(&kept[0]) && stage.holds(&kept[1]));
}

/// R8: the handshake that gives its place is one of the address that most of them count as.
#[test]
fn a_handshake_gives_its_place_by_the_address_that_it_counts_as() {
    let config = any_origin().limits(|limits| limits.max_handshakes = 3);
    let [ana, bia]: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
    let named = [Some(ana), Some(bia), Some(bia)];
    let mut stage = stage(config, Counted(named.into()));
    let waiting = [1, 1, 2, 1].map(|last| stage.connect_from([127, 0, 0, last]));
    let holds = waiting.each_ref().map(|actor| stage.holds(actor));
    assert_eq!(holds, [true, false, true, true]);
}

/// R8: an excess connection is refused at once, before it sends its request. At most 32 connections are being refused
/// at a time, and a further one replaces the oldest of them. The server keeps accepting meanwhile.
#[test]
fn a_further_excess_connection_replaces_the_oldest() {
    let config = any_origin().limits(|limits| limits.max_connections = Some(1));
    let server = TestServer::start(config, Echo::default());
    let first = Client::open(server.address);
    let mut others: Vec<Client> = (0..40).map(|_| Client::connect(server.address)).collect();
    for other in &mut others {
        // None of them has sent anything.
        assert_eq!(other.answer().status, 503);
    }
    server.wait_for("32 of them may still end cleanly", |now| now.peers == 33);
    leave(&server, first);
    let mut opened = Client::open(server.address);
    opened.send(&frame(0x81, b"hi"));
    opened.expect(b"\x81\x02hi");
    opened.leave();
    drop(others);
    server.is_back_to_baseline();
}

/// The number of opening handshakes has a limit of its own. A new connection beyond it replaces the oldest handshake.
#[test]
fn a_new_connection_replaces_the_oldest_handshake() {
    let config = any_origin().limits(|limits| limits.max_handshakes = 2);
    let server = TestServer::start(config, Echo::default());
    let mut oldest = Client::connect(server.address);
    server.wait_for("it was accepted", |now| now.peers == 1);
    let mut second = Client::connect(server.address);
    server.wait_for("the limit is reached", |now| now.peers == 2);
    let mut third = Client::connect(server.address);
    third.send(&[request(""), frame(0x81, b"hi")].concat());
    third.expect(&[SWITCHING, b"\x81\x02hi"].concat());
    assert_eq!(oldest.read_to_end(), b"");
    second.send(&request(""));
    second.expect(SWITCHING);
    second.leave();
    third.leave();
    server.is_back_to_baseline();
}

/// R10: 10,000 short connections, half of which are reset, release everything.
#[test]
fn ten_thousand_short_connections_release_everything() {
    let server = TestServer::echo();
    let mut witness = Client::open(server.address);
    for round in 0..10_000u32 {
        let mut client = Client::connect(server.address);
        match round % 4 {
            0 => {}
            1 => client.send(&request("")[..(round % 100) as usize]),
            // The client closes without reading the response, so its kernel sends a reset.
            _ => client.send(b"no request\r\n\r\n"),
        }
        drop(client);
        if round % 64 == 0 {
            // The backlog of the listener is short. Once the witness is served, all earlier connections were accepted.
            witness.send(&frame(0x81, b"here"));
            witness.expect(b"\x81\x04here");
            server.wait_for("the earlier connections are gone", |now| now.peers <= 64);
        }
    }
    witness.leave();
    server.is_back_to_baseline();
}
