//! The open WebSockets of this process.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use framewise::PeerId;
use framewise::lang::Lang;

use crate::serve::budget::Budget;
use crate::serve::class::names::MAX_NAME;
use crate::serve::class::roster::MemberId;
use crate::serve::class::utterance::Sender;
use crate::serve::routes::Path;

/// Bytes of the longest group name: the longest prefix and 64 characters.
pub const MAX_GROUP_NAME: usize = 9 + 4 * MAX_NAME;

/// One open WebSocket. One of a room is the local end of a member.
#[derive(Debug)]
pub struct Session {
    /// What it came for.
    pub path: Path,
    /// The address of the client.
    pub client: IpAddr,
    /// Whose ids its messages have.
    pub sender: Sender,
    /// The language that its request prefers.
    pub lang: Lang,
    pub member: MemberId,
    /// The room that it is in, by the room's own name: `None` before the engine has let it in, and for paths without a room.
    pub room: Option<String>,
    pub name: Option<String>,
    /// Whether it has asked for a room or a name, and waits for the reply. Until then, none of its messages is read.
    pub is_entering: bool,
    /// Whether it wants to know the numbers of messages.
    pub is_numbered: bool,
    /// How much of its budget is used, and until when it is not read because of that.
    pub budget: Budget,
    pub paused_until: Option<Instant>,
}

/// The groups of a room. Its members hear different things, and the library's groups carry the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Receives messages as they were sent.
    Raw,
    /// Receives events.
    Events,
    /// Receives events with the numbers of messages.
    Numbered,
    /// Receives news about other members.
    Presence,
}

impl Group {
    const ALL: [Group; 4] = [Group::Raw, Group::Events, Group::Numbered, Group::Presence];

    /// Returns the name of the group of a room.
    pub fn of(self, room: &str) -> String {
        let prefix = match self {
            Group::Raw => "raw",
            Group::Events => "events",
            Group::Numbered => "numbered",
            Group::Presence => "presence",
        };
        format!("{prefix}/{room}")
    }

    /// Returns the names of all groups of a room.
    pub fn all_of(room: &str) -> [String; 4] {
        Group::ALL.map(|group| group.of(room))
    }
}

impl Session {
    /// Returns the names of the groups that it belongs to.
    pub fn groups(&self) -> Vec<String> {
        let events = if self.is_numbered { Group::Numbered } else { Group::Events };
        let groups = match self.path {
            Path::Echo | Path::Explain => vec![],
            Path::Raw => vec![Group::Raw],
            Path::Events { presence: false } => vec![events],
            Path::Events { presence: true } => vec![events, Group::Presence],
        };
        let room = self.room.as_deref();
        room.map(|room| groups.iter().map(|group| group.of(room)).collect()).unwrap_or_default()
    }
}

/// All open WebSockets of the class.
#[derive(Debug, Default)]
pub struct Sessions {
    by_peer: HashMap<PeerId, Session>,
    by_member: HashMap<MemberId, PeerId>,
}

impl Sessions {
    /// Returns the number of sessions.
    pub fn len(&self) -> usize {
        self.by_peer.len()
    }

    pub fn insert(&mut self, peer: PeerId, session: Session) {
        self.by_member.insert(session.member, peer);
        self.by_peer.insert(peer, session);
    }

    pub fn remove(&mut self, peer: PeerId) -> Option<Session> {
        let session = self.by_peer.remove(&peer)?;
        self.by_member.remove(&session.member);
        Some(session)
    }

    pub fn get(&self, peer: PeerId) -> Option<&Session> {
        self.by_peer.get(&peer)
    }

    pub fn get_mut(&mut self, peer: PeerId) -> Option<&mut Session> {
        self.by_peer.get_mut(&peer)
    }

    /// Returns the connection of a member, if it is connected to this process.
    pub fn peer_of(&self, member: MemberId) -> Option<PeerId> {
        self.by_member.get(&member).copied()
    }
}
