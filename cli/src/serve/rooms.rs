//! Who is in which room, under which name. No sockets: the library's groups carry the messages.
//!
//! Every room has three groups, because its members hear different things: `raw` the bytes as they were sent, `events`
//! JSON, and `presence`, those of the latter who also want to know who comes and goes.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Instant;

use framewise::PeerId;
use framewise::lang::Lang;

use crate::serve::names::{self, MAX_NAME};
use crate::serve::rate::Rate;

/// Where everybody starts.
pub const LOBBY: &str = "lobby";

/// Bytes of the longest group name: the longest prefix and 64 characters.
pub const MAX_GROUP_NAME: usize = 9 + 4 * MAX_NAME;

/// What a connection came for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// `/` and `/echo`.
    Echo,
    /// `/ws`.
    Raw,
    /// `/ws/events`; with the subprotocol it also hears who comes and goes.
    Events {
        /// The subprotocol `framewise.classroom` was chosen.
        presence: bool,
    },
}

/// The groups of a room.
pub fn raw(room: &str) -> String {
    format!("raw/{}", names::key(room))
}

/// The members of a room that hear events.
pub fn events(room: &str) -> String {
    format!("events/{}", names::key(room))
}

/// The members of a room that hear who comes and goes.
pub fn presence(room: &str) -> String {
    format!("presence/{}", names::key(room))
}

/// One open connection.
#[derive(Debug)]
pub struct Member {
    /// What it came for.
    pub path: Path,
    /// The address of the client.
    pub client: IpAddr,
    /// The language that its request prefers.
    pub lang: Lang,
    /// Where it is.
    pub room: String,
    /// What it is called.
    pub name: Option<String>,
    /// How much it sends.
    pub rate: Rate,
}

/// All open connections.
#[derive(Debug, Default)]
pub struct Rooms {
    members: HashMap<PeerId, Member>,
    /// By what names have in common that look the same, and so are rooms.
    by_name: HashMap<String, PeerId>,
    by_room: HashMap<String, BTreeSet<PeerId>>,
}

impl Rooms {
    /// Open connections.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Somebody came.
    pub fn enter(
        &mut self,
        peer: PeerId,
        path: Path,
        lang: Lang,
        room: &str,
        client: IpAddr,
        now: Instant,
    ) {
        let (room, name, rate) = (room.to_owned(), None, Rate::new(now));
        if path != Path::Echo {
            self.by_room.entry(names::key(&room)).or_default().insert(peer);
        }
        self.members.insert(peer, Member { path, client, lang, room, name, rate });
    }

    /// Somebody went.
    pub fn depart(&mut self, peer: PeerId) -> Option<Member> {
        let member = self.members.remove(&peer)?;
        if let Some(name) = &member.name {
            self.by_name.remove(&names::key(name));
        }
        self.forget_in(&member.room, peer);
        Some(member)
    }

    /// One of them.
    pub fn get(&self, peer: PeerId) -> Option<&Member> {
        self.members.get(&peer)
    }

    /// One of them, to change how much it has sent.
    pub fn get_mut(&mut self, peer: PeerId) -> Option<&mut Member> {
        self.members.get_mut(&peer)
    }

    /// Who is called so.
    pub fn named(&self, name: &str) -> Option<PeerId> {
        self.by_name.get(&names::key(name)).copied()
    }

    /// Whether this name is somebody else's.
    pub fn is_taken(&self, name: &str, peer: PeerId) -> bool {
        self.named(name).is_some_and(|other| other != peer)
    }

    /// Gives a name that is not taken.
    pub fn rename(&mut self, peer: PeerId, name: String) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        let key = names::key(&name);
        if let Some(before) = member.name.replace(name) {
            self.by_name.remove(&names::key(&before));
        }
        self.by_name.insert(key, peer);
    }

    /// Goes to a room.
    pub fn go(&mut self, peer: PeerId, room: &str) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        let before = std::mem::replace(&mut member.room, room.to_owned());
        self.forget_in(&before, peer);
        self.by_room.entry(names::key(room)).or_default().insert(peer);
    }

    /// The members of a room.
    pub fn within(&self, room: &str) -> impl Iterator<Item = &Member> + '_ {
        let peers = self.by_room.get(&names::key(room)).into_iter().flatten();
        peers.filter_map(|peer| self.members.get(peer))
    }

    fn forget_in(&mut self, room: &str, peer: PeerId) {
        let room = names::key(room);
        if let Some(peers) = self.by_room.get_mut(&room) {
            peers.remove(&peer);
            if peers.is_empty() {
                self.by_room.remove(&room);
            }
        }
    }
}
