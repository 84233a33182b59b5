//! Who is in which room, under which name. No sockets: the library's groups carry the messages.
//!
//! Every room has three groups, because its members hear different things: `raw` the bytes as they were sent, `events`
//! JSON, and `presence`, those of the latter who also want to know who comes and goes.
//!
//! A room is called as its first member spelled it. Names that collide with this one lead to the same room, and every
//! event has the room's own name.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use framewise::PeerId;
use framewise::lang::Lang;

use crate::serve::budget::Budget;
use crate::serve::delivered::Sender;
use crate::serve::names::{self, MAX_NAME, Table};

/// Where everybody starts.
pub const LOBBY: &str = "lobby";

/// Bytes of the longest group name: the longest prefix and 64 characters.
pub const MAX_GROUP_NAME: usize = 9 + 4 * MAX_NAME;

/// The WebSocket path of a connection.
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
    /// `/explain/ws`, the WebSocket of the page that explains bytes.
    Explain,
}

impl Path {
    /// Reports whether the connection is a member of a room.
    pub fn is_in_room(self) -> bool {
        matches!(self, Path::Raw | Path::Events { .. })
    }
}

/// Returns the group of the room's members that receive messages as they were sent.
pub fn raw(room: &str) -> String {
    format!("raw/{room}")
}

/// Returns the group of the room's members that receive events.
pub fn events(room: &str) -> String {
    format!("events/{room}")
}

/// Returns the group of the room's members that receive news about others.
pub fn presence(room: &str) -> String {
    format!("presence/{room}")
}

/// One open connection.
#[derive(Debug)]
pub struct Member {
    /// What it came for.
    pub path: Path,
    /// The address of the client.
    pub client: IpAddr,
    /// Whose ids its messages have.
    pub sender: Sender,
    /// The language that its request prefers.
    pub lang: Lang,
    /// The room that it is in, by the room's own name.
    pub room: String,
    /// What it is called.
    pub name: Option<String>,
    /// How much of its budget is used.
    pub budget: Budget,
}

/// All open connections.
#[derive(Debug)]
pub struct Rooms {
    members: HashMap<PeerId, Member>,
    /// The people who have a name.
    people: Table<PeerId>,
    /// The names of the rooms with members, and of the lobby.
    names: Table<String>,
    by_room: HashMap<String, BTreeSet<PeerId>>,
}

impl Default for Rooms {
    fn default() -> Rooms {
        let mut names = Table::default();
        names.insert(LOBBY, LOBBY.to_owned());
        Rooms { members: HashMap::new(), people: Table::default(), names, by_room: HashMap::new() }
    }
}

impl Rooms {
    /// Open connections.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Adds a connection, and returns the own name of the room that it asked for.
    pub fn enter(&mut self, peer: PeerId, mut member: Member) -> String {
        let room = self.room_called(&member.room);
        member.room.clone_from(&room);
        if member.path.is_in_room() {
            self.add_to(&room, peer);
        }
        self.members.insert(peer, member);
        room
    }

    /// Removes a connection.
    pub fn depart(&mut self, peer: PeerId) -> Option<Member> {
        let member = self.members.remove(&peer)?;
        if let Some(name) = &member.name {
            self.people.remove(name);
        }
        self.remove_from(&member.room, peer);
        Some(member)
    }

    /// Returns the member of a connection.
    pub fn get(&self, peer: PeerId) -> Option<&Member> {
        self.members.get(&peer)
    }

    /// Returns the member of a connection, to charge its budget.
    pub fn get_mut(&mut self, peer: PeerId) -> Option<&mut Member> {
        self.members.get_mut(&peer)
    }

    /// Returns the member with this name, in any case. A private message to `ana` must not reach somebody whose name
    /// only looks like it.
    pub fn named(&self, name: &str) -> Option<PeerId> {
        let is_called = |peer: &PeerId| {
            let found = self.members.get(peer).and_then(|member| member.name.as_deref());
            found.is_some_and(|found| names::is_same(found, name))
        };
        self.people.colliding(name).copied().find(is_called)
    }

    /// Returns the name of somebody else that collides with this one.
    pub fn taken(&self, name: &str, peer: PeerId) -> Option<&str> {
        let other = self.people.colliding(name).find(|&&other| other != peer)?;
        self.members.get(other)?.name.as_deref()
    }

    /// Returns a name like this one that nobody has, and how many names were tried.
    pub fn free_name(&self, name: &str) -> (String, usize) {
        self.people.free(name)
    }

    /// Gives a member a name that is not taken.
    pub fn rename(&mut self, peer: PeerId, name: String) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        if let Some(before) = &member.name {
            self.people.remove(before);
        }
        self.people.insert(&name, peer);
        member.name = Some(name);
    }

    /// Returns the own name of the room that this name leads to, which is the same name for a new room.
    pub fn room_called(&self, name: &str) -> String {
        self.names.colliding(name).next().map_or(name, String::as_str).to_owned()
    }

    /// Moves a member to a room, which is given by its own name.
    pub fn go(&mut self, peer: PeerId, room: &str) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        let before = std::mem::replace(&mut member.room, room.to_owned());
        self.remove_from(&before, peer);
        self.add_to(room, peer);
    }

    /// The members of a room.
    pub fn within(&self, room: &str) -> impl Iterator<Item = &Member> + '_ {
        let peers = self.by_room.get(room).into_iter().flatten();
        peers.filter_map(|peer| self.members.get(peer))
    }

    fn add_to(&mut self, room: &str, peer: PeerId) {
        let peers = self.by_room.entry(room.to_owned()).or_insert_with(|| {
            self.names.insert(room, room.to_owned());
            BTreeSet::new()
        });
        peers.insert(peer);
    }

    fn remove_from(&mut self, room: &str, peer: PeerId) {
        let Some(peers) = self.by_room.get_mut(room) else { return };
        peers.remove(&peer);
        if peers.is_empty() {
            self.by_room.remove(room);
            if room != LOBBY {
                self.names.remove(room);
            }
        }
    }
}
