//! The members of the class, and their names.

use std::collections::HashMap;

use crate::serve::class::names::{self, Table};
use crate::serve::class::random;

/// Identifies a member of the class, on whatever machine, also when its connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId {
    /// The process that the member is connected to.
    node: u64,
    number: u64,
}

/// Gives out the ids of the members of one process.
#[derive(Debug)]
pub struct MemberIds {
    next: MemberId,
}

impl Default for MemberIds {
    fn default() -> MemberIds {
        MemberIds { next: MemberId { node: random(), number: 0 } }
    }
}

impl MemberIds {
    /// Returns a new id.
    pub fn next(&mut self) -> MemberId {
        let id = self.next;
        self.next.number += 1;
        id
    }
}

/// A member of the class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The room that it is in, by the room's own name.
    pub room: String,
    pub name: Option<String>,
}

/// The members by their ids, and those who have a name by their names.
#[derive(Debug, Default)]
pub struct Roster {
    members: HashMap<MemberId, Member>,
    names: Table<MemberId>,
}

impl Roster {
    /// Adds a member, or changes one. Its name is not [taken](Roster::taken). Returns what it was before.
    pub fn set(&mut self, id: MemberId, member: Member) -> Option<Member> {
        let before = self.remove(id);
        if let Some(name) = &member.name {
            self.names.insert(name, id);
        }
        self.members.insert(id, member);
        before
    }

    /// Removes a member.
    pub fn remove(&mut self, id: MemberId) -> Option<Member> {
        let member = self.members.remove(&id)?;
        if let Some(name) = &member.name {
            self.names.remove(name);
        }
        Some(member)
    }

    pub fn get(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Returns the member with this name, in any case. A private message to `ana` must not reach somebody whose name
    /// only looks like it.
    pub fn named(&self, name: &str) -> Option<(MemberId, &str)> {
        let found = self.names.colliding(name);
        let mut found = found.filter_map(|id| Some((*id, self.members.get(id)?.name.as_deref()?)));
        found.find(|(_, found)| names::is_same(found, name))
    }

    /// Returns the name of another member that collides with this one.
    pub fn taken(&self, name: &str, id: MemberId) -> Option<&str> {
        let other = self.names.colliding(name).find(|&&other| other != id)?;
        self.members.get(other)?.name.as_deref()
    }

    /// Returns a name like this one that nobody has, and how many names were tried.
    pub fn free_name(&self, name: &str) -> (String, usize) {
        self.names.free(name)
    }
}
