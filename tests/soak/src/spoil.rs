//! Spoils what clients have received before the model sees it, to prove that the model would notice.

use std::collections::HashMap;
use std::fmt;

use fastrand::Rng;

use crate::event::{ConnectionId, Event, Path, Said};
use crate::model::Model;

/// One in so many messages is spoiled.
const RATE: usize = 20;

/// What is done to messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// One is dropped.
    Drop,
    /// One arrives twice.
    Duplicate,
    /// Two of one sender change places.
    Reorder,
    /// Two of two senders change places.
    Disorder,
    /// One also arrives in another room.
    Leak,
    /// A private one also arrives at somebody else.
    Private,
    /// One has another content.
    Alter,
}

impl Spoil {
    /// All kinds.
    pub const ALL: [Spoil; 7] = [
        Spoil::Drop,
        Spoil::Duplicate,
        Spoil::Reorder,
        Spoil::Disorder,
        Spoil::Leak,
        Spoil::Private,
        Spoil::Alter,
    ];

    /// Returns its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Spoil::Drop => "drop",
            Spoil::Duplicate => "duplicate",
            Spoil::Reorder => "reorder",
            Spoil::Disorder => "disorder",
            Spoil::Leak => "leak",
            Spoil::Private => "private",
            Spoil::Alter => "alter",
        }
    }
}

impl fmt::Display for Spoil {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Spoils some of the messages that pass through it.
#[derive(Debug)]
pub struct Spoiler {
    spoil: Option<Spoil>,
    rng: Rng,
    /// Messages that wait for the next one of their connection, to change places with it.
    held: HashMap<ConnectionId, Said>,
    spoiled: u64,
}

impl Spoiler {
    /// One that does this to messages, or nothing.
    pub fn new(spoil: Option<Spoil>, seed: u64) -> Spoiler {
        Spoiler { spoil, rng: Rng::with_seed(seed), held: HashMap::new(), spoiled: 0 }
    }

    /// Returns how many messages were spoiled.
    pub fn spoiled(&self) -> u64 {
        self.spoiled
    }

    /// Returns what becomes of an event that a connection has heard. `open` are all connections.
    pub fn pass(
        &mut self,
        model: &Model,
        open: &[ConnectionId],
        id: ConnectionId,
        event: Event,
    ) -> Vec<(ConnectionId, Event)> {
        let Some(spoil) = self.spoil else { return vec![(id, event)] };
        if let Some(held) = self.held.remove(&id) {
            return self.change_places(spoil, id, held, event);
        }
        let Event::Said(said) = &event else { return vec![(id, event)] };
        let is_private = said.to.is_some();
        if is_private != (spoil == Spoil::Private) || self.rng.usize(..RATE) > 0 {
            return vec![(id, event)];
        }
        let copy = (id, event.clone());
        let spoiled = match spoil {
            Spoil::Drop => vec![],
            Spoil::Duplicate => vec![copy.clone(), copy],
            Spoil::Reorder | Spoil::Disorder => {
                self.held.insert(id, said.clone());
                // Whether it is spoiled depends on the next event.
                return vec![];
            }
            Spoil::Leak => {
                let Some((_, room)) = model.certain_room(id) else { return vec![copy] };
                let is_elsewhere = |other: ConnectionId| {
                    model.certain_room(other).is_some_and(|(_, other)| other != room)
                };
                let Some(other) = self.pick(open, is_elsewhere) else { return vec![copy] };
                vec![copy, (other, event)]
            }
            Spoil::Private => {
                let is_other = |other: ConnectionId| {
                    let path = model.certain_room(other).map(|(path, _)| path);
                    other != id && matches!(path, Some(Path::Events { .. }))
                };
                let Some(other) = self.pick(open, is_other) else { return vec![copy] };
                vec![copy, (other, event)]
            }
            Spoil::Alter => {
                let mut said = said.clone();
                said.content.digest ^= 1;
                vec![(id, Event::Said(said))]
            }
        };
        self.spoiled += 1;
        spoiled
    }

    /// Two messages change places if they are of the right senders. Otherwise they arrive as they came.
    fn change_places(
        &mut self,
        spoil: Spoil,
        id: ConnectionId,
        held: Said,
        event: Event,
    ) -> Vec<(ConnectionId, Event)> {
        let can_change = matches!(&event, Event::Said(said) if said.to.is_none()
            && said.room == held.room
            && (said.id.sender == held.id.sender) == (spoil == Spoil::Reorder));
        let (held, event) = ((id, Event::Said(held)), (id, event));
        if can_change {
            self.spoiled += 1;
            vec![event, held]
        } else {
            vec![held, event]
        }
    }

    fn pick(
        &mut self,
        open: &[ConnectionId],
        is_right: impl Fn(ConnectionId) -> bool,
    ) -> Option<ConnectionId> {
        let right: Vec<_> = open.iter().copied().filter(|&id| is_right(id)).collect();
        self.rng.choice(right)
    }
}
