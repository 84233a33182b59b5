//! Each rule of the model, in the smallest history that it allows or forbids.

use crate::event::News;

use super::*;

const EVENTS: Path = Path::Events { news: false };

fn refused(code: String, message: Option<usize>) -> Event {
    Event::Refused { code, message }
}

/// Connections in 7a, and what happens to them.
struct Class(Model);

impl Class {
    fn new(paths: &[Path]) -> Class {
        let mut model = Model::new();
        for path in paths {
            model.opened(*path, "7a");
        }
        Class(model)
    }

    fn say(&mut self, sender: ConnectionId) -> MessageId {
        self.send(sender, Target::Room)
    }

    fn send_with_id(&mut self, sender: ConnectionId, to: Target) -> MessageId {
        let id = self.0.next_message(sender);
        let content = Content { digest: id.number as u64, is_binary: false };
        self.0.record(sender, Event::Sending { to, content, has_id: true });
        id
    }

    fn say_to(&mut self, sender: ConnectionId, name: &str) -> MessageId {
        self.send(sender, Target::Name(name.to_owned()))
    }

    fn send(&mut self, sender: ConnectionId, to: Target) -> MessageId {
        let id = self.0.next_message(sender);
        let content = Content { digest: id.number as u64, is_binary: false };
        self.0.record(sender, Event::Sending { to, content, has_id: false });
        id
    }

    /// The message arrives as it was sent, from somebody without a name.
    fn hear(&mut self, at: ConnectionId, id: MessageId) {
        let room = matches!(self.0.connections[at].path, Path::Events { .. });
        let room = room.then(|| "7a".to_owned());
        self.hear_as(at, id, room, None);
    }

    /// The private message arrives.
    fn hear_to(&mut self, at: ConnectionId, id: MessageId, name: &str) {
        self.hear_as(at, id, None, Some(name.to_owned()));
    }

    fn hear_as(
        &mut self,
        at: ConnectionId,
        id: MessageId,
        room: Option<String>,
        to: Option<String>,
    ) {
        let content = Content { digest: id.number as u64, is_binary: false };
        self.0.record(at, Event::Said(Said { id, content, room, from: None, to }));
    }

    fn ask(&mut self, at: ConnectionId, room: Option<&str>, name: Option<&str>) {
        let (room, name) = (room.map(str::to_owned), name.map(str::to_owned));
        self.0.record(at, Event::Asking(Request::Join { room, name }));
    }

    fn joined(&mut self, at: ConnectionId, room: &str, name: Option<&str>) {
        let name = name.map(str::to_owned);
        self.0.record(at, Event::Joined { room: room.to_owned(), name });
    }

    fn name(&mut self, at: ConnectionId, name: &str) {
        self.ask(at, None, Some(name));
        self.joined(at, "7a", Some(name));
    }

    fn fence(&mut self, at: ConnectionId) {
        self.0.record(at, Event::Pinging);
        self.0.record(at, Event::Ponged);
    }

    fn end(&mut self, at: ConnectionId, code: u16) {
        self.0.record(at, Event::Closed(code));
        self.0.record(at, Event::Ended);
    }

    #[track_caller]
    fn expect(&self, kinds: &[Kind]) {
        let found: Vec<_> = self.0.violations().iter().map(|found| found.kind).collect();
        assert_eq!(found, kinds, "{:#?}", self.0.violations());
    }
}

#[test]
fn what_was_acknowledged_must_arrive_before_a_fence() {
    for is_acknowledged in [true, false] {
        let mut class = Class::new(&[EVENTS, EVENTS]);
        class.say(0);
        if is_acknowledged {
            class.fence(0);
        }
        class.fence(1);
        class.expect(if is_acknowledged { &[Kind::Missing] } else { &[] });
    }
}

#[test]
fn what_one_has_received_must_arrive_at_all() {
    let mut class = Class::new(&[EVENTS, Path::Raw, EVENTS]);
    let said = class.say(0);
    class.hear(1, said);
    // It asked before, so the answer may be older than the message.
    class.0.record(2, Event::Pinging);
    class.expect(&[]);
    class.0.record(2, Event::Ponged);
    class.fence(2);
    class.expect(&[Kind::Missing]);
}

#[test]
fn a_fence_that_was_asked_for_before_proves_nothing() {
    let mut class = Class::new(&[EVENTS, EVENTS]);
    class.0.record(1, Event::Pinging);
    class.say(0);
    class.fence(0);
    class.0.record(1, Event::Ponged);
    class.expect(&[]);
}

#[test]
fn what_is_in_flight_while_a_member_joins_may_arrive_or_not() {
    for arrives in [true, false] {
        let mut class = Class::new(&[EVENTS, EVENTS]);
        let before = class.say(0);
        // It joins after the message was sent.
        let late = class.0.opened(EVENTS, "7a");
        class.fence(0);
        if arrives {
            class.hear(late, before);
        }
        class.fence(late);
        class.expect(&[]);
        // If one has arrived, then all later ones of its sender must.
        let mut class = Class::new(&[EVENTS]);
        let (first, _, third) = (class.say(0), class.say(0), class.say(0));
        let late = class.0.opened(EVENTS, "7a");
        if arrives {
            class.hear(late, first);
        }
        class.hear(late, third);
        class.fence(late);
        class.expect(if arrives { &[Kind::Missing] } else { &[] });
    }
}

#[test]
fn a_member_that_moves_hears_its_old_room_until_the_answer() {
    let mut class = Class::new(&[EVENTS, EVENTS]);
    class.ask(1, Some("7b"), None);
    let said = class.say(0);
    class.hear(1, said);
    class.joined(1, "7b", None);
    class.expect(&[]);
    let said = class.say(0);
    class.hear(1, said);
    class.expect(&[Kind::Leaked]);
}

#[test]
fn what_was_acknowledged_must_arrive_before_a_member_goes() {
    let mut class = Class::new(&[EVENTS, EVENTS]);
    class.say(0);
    class.fence(0);
    class.ask(1, Some("7b"), None);
    class.joined(1, "7b", None);
    class.expect(&[Kind::Missing]);
}

#[test]
fn the_room_of_a_message_is_judged_once_it_is_known() {
    for room in ["7b", "7a"] {
        let mut class = Class::new(&[EVENTS, EVENTS]);
        class.ask(0, Some(room), Some("ana"));
        let said = class.say(0);
        let from = Some("ana".to_owned());
        let content = Content { digest: said.number as u64, is_binary: false };
        let room_seen = Some("7a".to_owned());
        class.0.record(1, Event::Said(Said { id: said, content, room: room_seen, from, to: None }));
        class.expect(&[]);
        class.joined(0, room, Some("ana"));
        class.expect(if room == "7a" { &[] } else { &[Kind::Leaked] });
    }
}

#[test]
fn one_sender_is_heard_in_order_and_once() {
    let mut class = Class::new(&[EVENTS, EVENTS]);
    let (first, second) = (class.say(0), class.say(0));
    class.hear(1, second);
    class.hear(1, first);
    class.hear(1, first);
    class.expect(&[Kind::Reordered, Kind::Duplicate]);
}

#[test]
fn a_sender_hears_nothing_of_its_own() {
    let mut class = Class::new(&[EVENTS, EVENTS]);
    let said = class.say(0);
    class.hear(0, said);
    class.expect(&[Kind::Leaked]);
}

#[test]
fn two_members_must_agree_on_the_order_of_two_senders() {
    let mut class = Class::new(&[EVENTS, EVENTS, EVENTS, EVENTS]);
    let (ana, bia) = (class.say(0), class.say(1));
    for (at, first, second) in [(2, ana, bia), (3, bia, ana)] {
        class.hear(at, first);
        class.hear(at, second);
    }
    class.expect(&[]);
    (0..4).for_each(|id| class.0.record(id, Event::Resetting));
    class.0.stopped();
    class.expect(&[Kind::Disordered]);
}

#[test]
fn what_was_not_sent_or_not_completed_must_not_arrive() {
    let mut class = Class::new(&[EVENTS, EVENTS]);
    class.hear(1, MessageId { sender: 0, number: 0 });
    let torn = class.send(0, Target::Nobody);
    class.hear(1, torn);
    class.hear(1, MessageId { sender: 9, number: 0 });
    class.expect(&[Kind::NeverSent, Kind::NeverSent, Kind::NeverSent]);
}

#[test]
fn an_envelope_names_the_right_room_and_sender() {
    for (room, from, kinds) in [
        (Some("7a"), Some("ana"), &[][..]),
        (Some("7b"), Some("ana"), &[Kind::Altered]),
        (Some("7a"), Some("bia"), &[Kind::Altered]),
        (Some("7a"), None, &[Kind::Altered]),
        (None, Some("ana"), &[Kind::Altered]),
    ] {
        let mut class = Class::new(&[EVENTS, EVENTS]);
        class.name(0, "ana");
        let id = class.say(0);
        let (room, from) = (room.map(str::to_owned), from.map(str::to_owned));
        let content = Content { digest: 0, is_binary: false };
        class.0.record(1, Event::Said(Said { id, content, room, from, to: None }));
        class.expect(kinds);
    }
}

#[test]
fn a_private_message_arrives_at_the_one_with_the_name() {
    let mut class = Class::new(&[EVENTS, EVENTS, EVENTS]);
    class.name(1, "ana");
    class.name(2, "bia");
    let said = class.say_to(0, "ana");
    class.hear_to(2, said, "bia");
    class.expect(&[Kind::Misdelivered]);
    let mut class = Class::new(&[EVENTS, EVENTS, EVENTS]);
    class.name(1, "ana");
    let said = class.say_to(0, "ana");
    class.hear_to(1, said, "ana");
    class.expect(&[]);
    class.hear_to(2, said, "ana");
    class.expect(&[Kind::Misdelivered]);
}

#[test]
fn a_private_message_is_refused_or_arrives() {
    // Accepted, and never seen.
    let mut class = Class::new(&[EVENTS, EVENTS]);
    class.name(1, "ana");
    class.say_to(0, "ana");
    class.fence(0);
    class.fence(1);
    class.expect(&[Kind::Missing]);
    // Refused, although somebody has the name.
    let mut class = Class::new(&[EVENTS, EVENTS]);
    class.name(1, "ana");
    class.say_to(0, "ana");
    class.0.record(0, refused("no_such_peer".to_owned(), None));
    class.expect(&[Kind::WrongAnswer]);
    // Refused, and it arrives.
    let mut class = Class::new(&[EVENTS, EVENTS]);
    let said = class.say_to(0, "ana");
    class.0.record(0, refused("no_such_peer".to_owned(), None));
    class.expect(&[]);
    class.name(1, "ana");
    class.hear_to(1, said, "ana");
    class.expect(&[Kind::Misdelivered]);
    // The one with the name goes: both are right.
    let mut class = Class::new(&[EVENTS, EVENTS]);
    class.name(1, "ana");
    class.say_to(0, "ana");
    class.0.record(1, Event::Closing(1000));
    class.0.record(0, refused("no_such_peer".to_owned(), None));
    class.end(1, 1000);
    class.expect(&[]);
}

#[test]
fn a_name_is_given_once() {
    let mut class = Class::new(&[EVENTS, EVENTS]);
    class.name(0, "ana");
    class.name(1, "ana");
    class.expect(&[Kind::NameTwice]);
    // It may have been given up before.
    let mut class = Class::new(&[EVENTS, EVENTS]);
    class.name(0, "ana");
    class.ask(0, None, Some("bia"));
    class.name(1, "ana");
    class.expect(&[]);
}

#[test]
fn answers_are_those_of_the_requests() {
    let mut class = Class::new(&[EVENTS, EVENTS]);
    class.joined(0, "7a", None);
    class.ask(0, Some("7b"), None);
    class.joined(0, "7c", None);
    class.0.record(1, Event::Asking(Request::Invalid("unknown_type")));
    class.0.record(1, refused("invalid_json".to_owned(), None));
    class.0.record(1, Event::Ponged);
    class.expect(&[Kind::WrongAnswer; 4]);
}

#[test]
fn who_names_those_who_are_certainly_there() {
    for (names, unnamed, kinds) in [
        (&["ana"][..], 1, &[][..]),
        (&[], 1, &[Kind::WrongAnswer]),
        (&["ana"], 0, &[Kind::WrongAnswer]),
        (&["ana", "bia"], 1, &[Kind::WrongAnswer]),
    ] {
        let mut class = Class::new(&[EVENTS, EVENTS, EVENTS]);
        class.name(1, "ana");
        class.name(2, "bia");
        class.ask(2, Some("7b"), None);
        class.joined(2, "7b", Some("bia"));
        class.0.record(0, Event::Asking(Request::Who));
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        class.0.record(0, Event::Present { room: "7a".to_owned(), names, unnamed });
        class.expect(kinds);
    }
}

#[test]
fn news_alternates_and_is_asked_for() {
    let news = |room: &str, has_joined| {
        Event::News(News { has_joined, room: room.to_owned(), name: Some("ana".to_owned()) })
    };
    let mut class = Class::new(&[Path::Events { news: true }, EVENTS]);
    [news("7a", false), news("7a", true), news("7a", false)]
        .into_iter()
        .for_each(|news| class.0.record(0, news));
    class.expect(&[]);
    class.0.record(0, news("7a", false));
    class.0.record(0, news("7b", true));
    class.0.record(1, news("7a", true));
    class.expect(&[Kind::WrongNews; 3]);
}

#[test]
fn echoes_come_back_in_order() {
    let echo = |number| Event::Echoed(Content { digest: number, is_binary: false });
    for (echoes, kinds) in [
        (&[0, 1, 2][..], &[][..]),
        (&[1, 2], &[Kind::Missing]),
        (&[0, 0, 1, 2], &[Kind::Duplicate]),
        (&[0, 7, 1, 2], &[Kind::Altered]),
        (&[0, 1, 2, 2], &[Kind::NeverSent]),
    ] {
        let mut class = Class::new(&[Path::Echo]);
        for _ in 0..3 {
            class.send(0, Target::Echo);
        }
        echoes.iter().for_each(|&number| class.0.record(0, echo(number)));
        class.expect(kinds);
    }
    let mut class = Class::new(&[Path::Echo]);
    class.send(0, Target::Echo);
    class.0.record(0, Event::Closing(1000));
    class.0.record(0, Event::Closed(1000));
    class.expect(&[Kind::Unanswered]);
}

#[test]
fn a_connection_is_closed_for_a_reason() {
    let end = |events: &[Event]| {
        let mut class = Class::new(&[EVENTS]);
        events.iter().for_each(|event| class.0.record(0, event.clone()));
        class.0.violations().iter().map(|found| found.kind).collect::<Vec<_>>()
    };
    use Event::{Closed, Closing, Ended, HalfClosing, Resetting, Stalling};
    assert_eq!(end(&[Closing(3000), Closed(3000), Ended]), []);
    assert_eq!(end(&[Resetting, Ended]), []);
    assert_eq!(end(&[HalfClosing, Ended]), []);
    assert_eq!(end(&[Stalling, Closed(1008), Ended]), []);
    assert_eq!(end(&[Closing(3000), Closed(1000), Ended]), [Kind::WrongClose]);
    assert_eq!(end(&[Closed(1008), Ended]), [Kind::WrongClose]);
    assert_eq!(end(&[Stalling, Closed(1002), Ended]), [Kind::WrongClose]);
    assert_eq!(end(&[Closed(1001), Ended]), [Kind::WrongClose]);
    assert_eq!(end(&[Ended]), [Kind::Lost]);
}

#[test]
fn what_was_processed_before_a_half_close_arrives() {
    let mut class = Class::new(&[EVENTS, EVENTS]);
    class.say(0);
    class.fence(0);
    class.0.record(1, Event::HalfClosing);
    class.0.record(1, Event::Ended);
    class.expect(&[Kind::Missing]);
}

#[test]
fn a_server_that_stops_sends_everything_and_says_goodbye() {
    // The last one learns of the message after the goodbye of the one that lacks it.
    let mut class = Class::new(&[EVENTS, EVENTS, EVENTS]);
    class.0.stopping();
    let said = class.say(0);
    class.end(1, 1001);
    class.hear(2, said);
    class.end(2, 1001);
    class.end(0, 1001);
    class.expect(&[]);
    class.0.stopped();
    class.expect(&[Kind::Missing]);
    // Nobody has seen it, so it need not have been processed.
    let mut class = Class::new(&[EVENTS, EVENTS]);
    class.0.stopping();
    class.say(0);
    class.end(1, 1001);
    class.0.record(0, Event::Ended);
    class.0.stopped();
    class.expect(&[Kind::Lost]);
}

#[test]
fn an_acknowledged_message_arrives_once() {
    let mut class = Class::new(&[EVENTS, EVENTS]);
    let said = class.send_with_id(0, Target::Room);
    class.0.record(0, Event::Acked(0));
    class.0.record(0, Event::Repeating(0));
    class.hear(1, said);
    class.0.record(0, Event::Acked(0));
    class.expect(&[]);
    class.hear(1, said);
    class.expect(&[Kind::Duplicate]);
    class.send_with_id(0, Target::Room);
    class.0.record(0, Event::Acked(1));
    class.fence(1);
    class.expect(&[Kind::Duplicate, Kind::Missing]);
}

#[test]
fn an_acknowledgement_names_the_oldest_message() {
    let mut class = Class::new(&[EVENTS]);
    class.send_with_id(0, Target::Room);
    class.send_with_id(0, Target::Room);
    class.0.record(0, Event::Acked(1));
    class.0.record(0, refused("too_long".to_owned(), Some(0)));
    class.expect(&[Kind::WrongAnswer, Kind::WrongAnswer]);
}

#[test]
fn private_messages_with_ids_are_told_apart() {
    let mut class = Class::new(&[EVENTS, EVENTS]);
    class.name(1, "ana");
    class.send_with_id(0, Target::Name("nobody".to_owned()));
    class.send_with_id(0, Target::Name("ana".to_owned()));
    class.0.record(0, refused("no_such_peer".to_owned(), Some(0)));
    class.0.record(0, Event::Acked(1));
    class.expect(&[]);
    class.fence(1);
    class.expect(&[Kind::Missing]);
}
