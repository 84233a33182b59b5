//! Backpressure: the peers whose reading is paused, and until when.
//!
//! ```text
//! sender ──message──> [ output of a recipient: more than half of its limit ]      the recipient is congested,
//!    ^                                   │                                        the sender is paused
//!    '── is not read, so TCP slows it ───'                                        until the output drains
//! ```
//!
//! If a peer sends faster than its recipients read, their outputs fill up, and the server would have to close their
//! connections. Instead the server stops reading from the sender. The kernel's buffers fill, and TCP slows the sender
//! down. The pause ends when no recipient is congested. A recipient that stays congested for too long is closed, so
//! that a single stalled reader cannot stop a room.
//!
//! An application can also pause a peer until a given time, for example because it has used up its budget.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::time::Instant;

use crate::groups::{GroupId, Groups};
use crate::peers::PeerId;

/// The recipients that a paused sender waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipients {
    Peer(PeerId),
    Group(GroupId),
}

impl Recipients {
    fn are_congested(self, groups: &Groups) -> bool {
        match self {
            Recipients::Peer(peer) => groups.is_congested(peer),
            Recipients::Group(group) => groups.has_congested(group),
        }
    }
}

/// The most recipients, each a peer or a group, that are remembered for one sender.
const MAX_RECIPIENTS: usize = 8;

/// The peers whose reading is paused.
pub(crate) struct Flow {
    /// Earlier than the time of any turn.
    start: Instant,
    /// Senders, and the recipients that each waits for. An entry stays until the sender's next turn, which checks the
    /// recipients again.
    waiting: HashMap<PeerId, Vec<Recipients>>,
    /// By slot: the recipients of the peer's last message. A peer is paused before it sends to them once more, so that many
    /// senders together do not fill an output that each of them alone would not.
    last: Vec<Option<Recipients>>,
    /// Peers that are paused until a given time.
    until: HashMap<PeerId, Instant>,
    by_time: BTreeSet<(Instant, PeerId)>,
    /// A congested recipient has caught up, has closed, or has left a group.
    is_relieved: bool,
}

impl Default for Flow {
    fn default() -> Flow {
        Flow {
            start: Instant::now(),
            waiting: HashMap::new(),
            last: Vec::new(),
            until: HashMap::new(),
            by_time: BTreeSet::new(),
            is_relieved: false,
        }
    }
}

impl Flow {
    /// Remembers the recipients of a peer's message.
    #[inline]
    pub(crate) fn sent(&mut self, sender: PeerId, recipients: Recipients) {
        if self.last.len() <= sender.slot() {
            self.last.resize(sender.slot() + 1, None);
        }
        self.last[sender.slot()] = Some(recipients);
    }

    /// Pauses a sender until its recipients are no longer congested.
    pub(crate) fn wait_for(&mut self, sender: PeerId, recipients: Recipients) {
        let waits_for = self.waiting.entry(sender).or_default();
        if !waits_for.contains(&recipients) && waits_for.len() < MAX_RECIPIENTS {
            waits_for.push(recipients);
        }
    }

    /// Notes that a recipient no longer makes its senders wait.
    pub(crate) fn relieve(&mut self) {
        self.is_relieved = true;
    }

    /// Reports whether the senders that wait have to be checked again, and resets that.
    pub(crate) fn take_relieved(&mut self) -> bool {
        mem::take(&mut self.is_relieved)
    }

    /// Pauses a peer until a given time. Keeps a later time that was set before.
    pub(crate) fn pause(&mut self, peer: PeerId, until: Instant) {
        let at = self.until.entry(peer).or_insert(until);
        if *at < until {
            self.by_time.remove(&(*at, peer));
            *at = until;
        }
        self.by_time.insert((*at, peer));
    }

    /// Ends the timed pause of a peer, if it has one, with the next call of [`expired`](Flow::expired).
    pub(crate) fn resume(&mut self, peer: PeerId) {
        let Some(at) = self.until.get_mut(&peer) else { return };
        self.by_time.remove(&(*at, peer));
        *at = self.start;
        self.by_time.insert((*at, peer));
    }

    /// Reports whether a peer is paused. Ends its pause if none of its recipients is congested any more.
    #[inline]
    pub(crate) fn is_paused(&mut self, peer: PeerId, groups: &Groups) -> bool {
        if self.waiting.is_empty() && self.until.is_empty() && !groups.any_congested() {
            return false;
        }
        self.is_among_paused(peer, groups)
    }

    #[cold]
    fn is_among_paused(&mut self, peer: PeerId, groups: &Groups) -> bool {
        if self.until.contains_key(&peer) {
            return true;
        }
        if let Some(last) = self.last.get(peer.slot()).copied().flatten()
            && last.are_congested(groups)
        {
            self.wait_for(peer, last);
        }
        let Some(recipients) = self.waiting.get(&peer) else { return false };
        let waits = recipients.iter().any(|recipients| recipients.are_congested(groups));
        if !waits {
            self.waiting.remove(&peer);
        }
        waits
    }

    /// Reports whether a peer has a pause that no turn has ended yet.
    pub(crate) fn has_pause(&self, peer: PeerId) -> bool {
        self.until.contains_key(&peer) || self.waiting.contains_key(&peer)
    }

    /// Returns the time until which a peer is paused, unless it only waits for recipients.
    pub(crate) fn pause_ends(&self, peer: PeerId) -> Option<Instant> {
        self.until.get(&peer).copied()
    }

    /// Returns the senders that wait for recipients.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.waiting.keys().copied()
    }

    /// Returns the time at which the next timed pause ends.
    #[inline]
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|&(at, _)| at)
    }

    /// Ends one timed pause that is over at `now`, and returns its peer.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<PeerId> {
        let &(at, peer) = self.by_time.first().filter(|(at, _)| *at <= now)?;
        self.by_time.remove(&(at, peer));
        self.until.remove(&peer);
        Some(peer)
    }

    /// Removes all pauses of a peer.
    pub(crate) fn forget(&mut self, peer: PeerId) {
        if let Some(last) = self.last.get_mut(peer.slot()) {
            *last = None;
        }
        self.waiting.remove(&peer);
        if let Some(at) = self.until.remove(&peer) {
            self.by_time.remove(&(at, peer));
        }
    }

    /// Returns the number of pauses.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.until.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::peers::Peers;
    use crate::protocol::connection::Connection;

    fn two() -> (PeerId, PeerId) {
        let config = Config::default().validate().expect("valid");
        let mut peers = Peers::default();
        let mut new = || peers.insert(Connection::server(config.clone()));
        (new(), new())
    }

    #[test]
    fn a_sender_waits_while_its_recipients_are_congested() {
        let (sender, recipient) = two();
        let (mut flow, mut groups) = (Flow::default(), Groups::new(8, 8));
        groups.join(recipient, "a").expect("joins");
        groups.set_congested(recipient, true);
        let group = groups.find("a").expect("it has a member");
        for recipients in [Recipients::Peer(recipient), Recipients::Group(group)] {
            groups.set_congested(recipient, true);
            flow.wait_for(sender, recipients);
            assert!(flow.is_paused(sender, &groups) && !flow.is_paused(recipient, &groups));
            groups.set_congested(recipient, false);
            assert!(!flow.is_paused(sender, &groups));
            assert_eq!(flow.len(), 0);
        }
    }

    #[test]
    fn a_pause_ends_at_its_time() {
        let (first, second) = two();
        let (mut flow, groups) = (Flow::default(), Groups::new(8, 8));
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        flow.pause(first, after(3));
        flow.pause(first, after(1));
        flow.pause(second, after(2));
        assert_eq!(flow.next(), Some(after(2)));
        assert_eq!(flow.expired(after(1)), None);
        assert_eq!(flow.expired(after(2)), Some(second));
        assert!(flow.is_paused(first, &groups) && !flow.is_paused(second, &groups));
        flow.forget(first);
        assert_eq!((flow.next(), flow.len()), (None, 0));
    }
}
