//! The groups that peers join, and their members.
//!
//! ```text
//! name ──> GroupId ──> members [ 7.0 | 2.1 | 9.0 ]          a group exists while it has members
//!                                 ^
//! memberships of slot 2: (group, place in its members), so that leaving a group needs no search
//! ```
//!
//! A member that reads too slowly is *congested*: its socket is full, and more than half of its output limit is queued.
//! Each group counts its congested members, so that the loop knows at once whether to pause a sender (`flow.rs`).

use std::collections::HashMap;
use std::fmt;
use std::mem;

use crate::peers::PeerId;

/// Why a peer could not join a group: the error of [`Outbox::join`](crate::Outbox::join).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// The id does not belong to a connected peer.
    NoSuchPeer,
    /// The peer is already in the maximum number of groups.
    TooManyGroups,
    /// The group name is longer than the limit.
    NameTooLong,
}

impl fmt::Display for JoinError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            JoinError::NoSuchPeer => "the peer is no longer connected",
            JoinError::TooManyGroups => "the peer is in too many groups",
            JoinError::NameTooLong => "the name of the group is too long",
        })
    }
}

impl std::error::Error for JoinError {}

/// Identifies a group for as long as it has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupId {
    place: u32,
    generation: u32,
}

#[derive(Clone, Copy)]
struct Membership {
    group: u32,
    place: u32,
}

#[derive(Default)]
struct Group {
    name: Box<str>,
    members: Vec<PeerId>,
    /// Incremented when the last member leaves, which makes the group's id stale.
    generation: u32,
    /// The number of congested members.
    congested: u32,
}

/// The memberships of a peer, and whether it is congested.
#[derive(Default)]
struct Member {
    memberships: Vec<Membership>,
    /// The peer in this slot, while it is congested.
    congested: Option<PeerId>,
}

/// All groups of one event loop.
pub(crate) struct Groups {
    max_per_peer: usize,
    max_name: usize,
    groups: Vec<Group>,
    free: Vec<u32>,
    by_name: HashMap<Box<str>, u32>,
    /// The number of congested peers.
    congested: usize,
    /// Indexed by slot.
    peers: Vec<Member>,
}

impl Groups {
    /// Returns an empty set of groups with these limits.
    pub(crate) fn new(max_per_peer: usize, max_name: usize) -> Groups {
        Groups {
            max_per_peer,
            max_name,
            groups: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            congested: 0,
            peers: Vec::new(),
        }
    }

    /// Adds a connected peer to a group, and creates the group if necessary. Returns false if the peer was already a
    /// member.
    ///
    /// # Errors
    ///
    /// The peer is in too many groups, or the name is too long.
    pub(crate) fn join(&mut self, id: PeerId, name: &str) -> Result<bool, JoinError> {
        if name.len() > self.max_name {
            return Err(JoinError::NameTooLong);
        }
        if self.peers.len() <= id.slot() {
            self.peers.resize_with(id.slot() + 1, Member::default);
        }
        let memberships = &self.peers[id.slot()].memberships;
        if let Some(&group) = self.by_name.get(name)
            && memberships.iter().any(|membership| membership.group == group)
        {
            return Ok(false);
        }
        if memberships.len() >= self.max_per_peer {
            return Err(JoinError::TooManyGroups);
        }
        let index = self.find_or_create(name);
        let member = &mut self.peers[id.slot()];
        let group = &mut self.groups[index as usize];
        let place = group.members.len() as u32;
        member.memberships.push(Membership { group: index, place });
        group.members.push(id);
        group.congested += u32::from(member.congested.is_some());
        Ok(true)
    }

    /// Removes a connected peer from a group. Returns false if it was not a member.
    pub(crate) fn leave(&mut self, id: PeerId, name: &str) -> bool {
        let (Some(&group), Some(member)) = (self.by_name.get(name), self.peers.get_mut(id.slot()))
        else {
            return false;
        };
        let place = member.memberships.iter().position(|membership| membership.group == group);
        let Some(place) = place else { return false };
        let membership = member.memberships.swap_remove(place);
        let was_congested = member.congested.is_some();
        self.remove_from_group(membership, was_congested);
        true
    }

    /// Removes a peer from all its groups.
    pub(crate) fn leave_all(&mut self, id: PeerId) {
        let Some(member) = self.peers.get_mut(id.slot()) else { return };
        let was_congested = member.congested.is_some();
        for membership in mem::take(&mut member.memberships) {
            self.remove_from_group(membership, was_congested);
        }
    }

    /// Returns the members of a group, in no particular order.
    pub(crate) fn members(&self, name: &str) -> &[PeerId] {
        let group = self.by_name.get(name);
        group.map_or(&[], |&group| &self.groups[group as usize].members)
    }

    /// Returns the number of memberships of all peers together.
    pub(crate) fn memberships(&self) -> usize {
        self.groups.iter().map(|group| group.members.len()).sum()
    }

    /// Returns the id of a group that has members.
    #[inline]
    pub(crate) fn find(&self, name: &str) -> Option<GroupId> {
        let place = *self.by_name.get(name)?;
        Some(GroupId { place, generation: self.groups[place as usize].generation })
    }

    /// Returns the member at a place of a group.
    #[inline]
    pub(crate) fn member(&self, group: GroupId, place: usize) -> Option<PeerId> {
        self.groups[group.place as usize].members.get(place).copied()
    }

    // Congestion.

    /// Records whether a peer is congested, and updates the counts of its groups.
    pub(crate) fn set_congested(&mut self, id: PeerId, is_congested: bool) {
        if self.peers.len() <= id.slot() {
            self.peers.resize_with(id.slot() + 1, Member::default);
        }
        let member = &mut self.peers[id.slot()];
        let congested = is_congested.then_some(id);
        if mem::replace(&mut member.congested, congested).is_some() == is_congested {
            return;
        }
        if is_congested {
            self.congested += 1;
        } else {
            self.congested -= 1;
        }
        for membership in &member.memberships {
            let congested = &mut self.groups[membership.group as usize].congested;
            if is_congested {
                *congested += 1;
            } else {
                *congested -= 1;
            }
        }
    }

    /// Reports whether any peer is congested.
    #[inline]
    pub(crate) fn any_congested(&self) -> bool {
        self.congested > 0
    }

    /// Reports whether a peer is congested.
    #[inline]
    pub(crate) fn is_congested(&self, id: PeerId) -> bool {
        self.peers.get(id.slot()).is_some_and(|member| member.congested == Some(id))
    }

    /// Reports whether any member of a group is congested.
    #[inline]
    pub(crate) fn has_congested(&self, group: GroupId) -> bool {
        let found = self.groups.get(group.place as usize);
        found.is_some_and(|found| found.generation == group.generation && found.congested > 0)
    }

    fn find_or_create(&mut self, name: &str) -> u32 {
        if let Some(&group) = self.by_name.get(name) {
            return group;
        }
        let group = self.free.pop().unwrap_or_else(|| {
            self.groups.push(Group::default());
            self.groups.len() as u32 - 1
        });
        self.groups[group as usize].name = name.into();
        self.by_name.insert(name.into(), group);
        group
    }

    /// Removes one member of a group, and moves the last member to its place. Removes the group if it becomes empty.
    fn remove_from_group(
        &mut self,
        Membership { group: index, place }: Membership,
        congested: bool,
    ) {
        let group = &mut self.groups[index as usize];
        group.congested -= u32::from(congested);
        group.members.swap_remove(place as usize);
        if let Some(moved) = group.members.get(place as usize) {
            let memberships = &mut self.peers[moved.slot()].memberships;
            let its = memberships.iter_mut().find(|membership| membership.group == index);
            its.expect("a member knows its group").place = place;
        }
        if group.members.is_empty() {
            group.members = Vec::new();
            group.generation = group.generation.wrapping_add(1);
            let name = mem::take(&mut group.name);
            self.by_name.remove(&name);
            self.free.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::peers::Peers;
    use crate::protocol::connection::Connection;

    fn ids(count: usize) -> Vec<PeerId> {
        let config = Config::default().validate().expect("valid");
        let mut peers = Peers::default();
        (0..count).map(|_| peers.insert(Connection::server(config.clone()))).collect()
    }

    #[test]
    fn groups_have_their_limits() {
        let mut groups = Groups::new(2, 4);
        let id = ids(1)[0];
        assert_eq!(groups.join(id, "12345"), Err(JoinError::NameTooLong));
        assert_eq!(groups.join(id, "a"), Ok(true));
        assert_eq!(groups.join(id, "a"), Ok(false));
        assert_eq!(groups.join(id, "b"), Ok(true));
        assert_eq!(groups.join(id, "c"), Err(JoinError::TooManyGroups));
        assert_eq!(groups.memberships(), 2);
        assert!(groups.leave(id, "a") && !groups.leave(id, "a"));
        assert_eq!(groups.join(id, "c"), Ok(true));
    }

    /// Members stay in a group when others leave it, and an empty group is removed.
    #[test]
    fn leaving_keeps_every_other_membership() {
        let mut groups = Groups::new(2, 4);
        let ids = ids(10);
        for &id in &ids {
            groups.join(id, "a").expect("joins");
            groups.join(id, "b").expect("joins");
        }
        for (n, &id) in ids.iter().enumerate() {
            assert!(groups.leave(id, "a"));
            assert_eq!(groups.members("a").len(), 9 - n);
            assert!(!groups.members("a").contains(&id));
            assert!(ids[n + 1..].iter().all(|other| groups.members("a").contains(other)));
        }
        assert!(groups.find("a").is_none());
        ids.iter().for_each(|&id| groups.leave_all(id));
        assert!(groups.find("b").is_none() && groups.memberships() == 0);
        assert_eq!(groups.members("b"), []);
    }

    /// The counts stay correct when peers join, leave and become congested.
    #[test]
    fn a_group_knows_whether_a_member_is_congested() {
        let mut groups = Groups::new(4, 4);
        let ids = ids(2);
        groups.join(ids[0], "a").expect("joins");
        let a = groups.find("a").expect("it has a member");
        groups.set_congested(ids[1], true);
        assert!(groups.is_congested(ids[1]) && !groups.has_congested(a));
        groups.join(ids[1], "a").expect("joins");
        groups.set_congested(ids[1], true);
        assert!(groups.has_congested(a));
        groups.leave(ids[1], "a");
        assert!(!groups.has_congested(a));
        groups.join(ids[1], "a").expect("joins");
        groups.set_congested(ids[1], false);
        assert!(!groups.has_congested(a));
        groups.set_congested(ids[1], true);
        ids.iter().for_each(|&id| groups.leave_all(id));
        groups.set_congested(ids[1], false);
        groups.join(ids[0], "b").expect("joins");
        assert!(!groups.has_congested(a), "the id of a group that is gone");
        assert!(!groups.has_congested(groups.find("b").expect("it has a member")));
    }
}
