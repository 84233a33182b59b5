//! The judgement of what one connection has received, in the order of its stream.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::mem;
use std::rc::Rc;

use crate::event::{ConnectionId, MessageId, News, Path, Said, Target};
use crate::model::{Model, Moment, Place, State};
use crate::violation::Kind;

/// What a connection has received, judged in the order of its stream. The judgement waits at a message whose sender's room is
/// not known yet.
#[derive(Debug, Default)]
pub(super) struct Judge {
    pub(super) queue: VecDeque<Step>,
    membership: Option<Membership>,
    name: Option<String>,
    received: HashSet<MessageId>,
    /// The largest number received of each sender.
    latest: HashMap<ConnectionId, usize>,
    /// Messages that were skipped. They are late or missing.
    holes: BTreeSet<MessageId>,
    /// The server has said goodbye: everything that it processed must be here.
    pub(super) is_complete: bool,
}

#[derive(Debug)]
pub(super) struct Membership {
    room: String,
    /// Messages that were sent later must arrive.
    from: Moment,
    /// How much of the log of the room was looked at.
    looked_at: usize,
    /// Messages of the log that have not arrived, and need not yet.
    open: Vec<MessageId>,
    /// The largest number received of each sender to this room.
    last: HashMap<ConnectionId, usize>,
    /// What was received.
    view: Vec<MessageId>,
    /// Whether somebody with this name was reported last as come or as gone.
    present: HashMap<String, bool>,
}

/// A step in the stream of a connection.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Said(Said),
    Fence(Moment),
    Renamed(Option<String>),
    Moved { state: Rc<State>, until: Moment, from: Moment, log: usize },
    News(News),
    End(End),
}

/// What must have arrived at the end.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// Whatever was processed before this moment.
    Processed(Moment),
    /// Whatever was processed at all.
    Everything,
    /// Nothing in particular.
    Open,
}

/// What a check finds: the kind, the words, and the message that it is about.
pub(super) type Finding = (Kind, String, Option<MessageId>);

impl Judge {
    pub(super) fn new(membership: Option<Membership>) -> Judge {
        Judge { membership, ..Judge::default() }
    }
}

impl Membership {
    pub(super) fn new(room: &str, from: Moment, looked_at: usize) -> Membership {
        Membership {
            room: room.to_owned(),
            from,
            looked_at,
            open: Vec::new(),
            last: HashMap::new(),
            view: Vec::new(),
            present: HashMap::new(),
        }
    }
}

impl Model {
    /// Judges what a connection has received, as far as it can be judged.
    pub(super) fn judge(&mut self, id: ConnectionId) {
        let mut judge = mem::take(&mut self.connections[id].judge);
        let mut findings = Vec::new();
        while let Some(step) = judge.queue.pop_front() {
            if let Step::Said(said) = &step
                && self.is_pending(said.id)
            {
                self.waiting.entry(said.id.sender).or_default().insert(id);
                judge.queue.push_front(step);
                break;
            }
            match step {
                Step::Said(said) => self.judge_said(id, &mut judge, said, &mut findings),
                Step::Fence(at) => {
                    self.judge_fence(id, &mut judge, Some(at), &mut findings);
                    self.judge_owed(id, Some(at), &mut findings);
                }
                Step::Renamed(name) => judge.name = name,
                Step::Moved { state, until, from, log } => {
                    self.judge_fence(id, &mut judge, Some(until), &mut findings);
                    self.leave(&mut judge);
                    judge.name.clone_from(&state.name);
                    judge.membership = Some(Membership::new(&state.room, from, log));
                }
                Step::News(news) => self.judge_news(id, &mut judge, &news, &mut findings),
                Step::End(end) => self.judge_end(id, &mut judge, end, &mut findings),
            }
        }
        self.connections[id].judge = judge;
        findings.into_iter().for_each(|finding| self.report(id, finding));
    }

    fn is_pending(&self, message: MessageId) -> bool {
        let sender = &self.connections[message.sender];
        matches!(sender.place_of(&sender.sent[message.number]), Place::Pending { .. })
    }

    fn judge_said(
        &mut self,
        id: ConnectionId,
        judge: &mut Judge,
        said: Said,
        findings: &mut Vec<Finding>,
    ) {
        let path = self.connections[id].path;
        let sender = &self.connections[said.id.sender];
        let sent = &sender.sent[said.id.number];
        let message = said.id;
        let mut found = |kind, text| findings.push((kind, text, Some(message)));
        let place = sender.place_of(sent);
        let room = judge.membership.as_ref().map(|membership| membership.room.as_str());
        // Whether it belongs here.
        match &sent.to {
            Target::Nobody => {
                return found(
                    Kind::NeverSent,
                    format!("{message} arrived, and was never completed"),
                );
            }
            Target::Echo => return found(Kind::Leaked, format!("{message} was for the sender")),
            Target::Name(name) if judge.name.as_ref() != Some(name) => {
                let text = format!("{message} was for {name}, and arrived at {:?}", judge.name);
                return found(Kind::Misdelivered, text);
            }
            Target::Name(_) => {}
            Target::Room => {
                let is_here = match place {
                    Place::Known(state) => room == Some(&state.room),
                    Place::Lost { rooms } => rooms.iter().any(|one| room == Some(one)),
                    Place::Pending { .. } => false,
                };
                if !is_here || message.sender == id {
                    let text =
                        format!("{message} was sent from {place:?}, and arrived in {room:?}");
                    return found(Kind::Leaked, text);
                }
            }
        }
        // Whether it is what was sent.
        let is_private = matches!(sent.to, Target::Name(_));
        let from = match place {
            Place::Known(state) => state.name.as_ref(),
            _ => said.from.as_ref(),
        };
        let is_envelope_right = match path {
            Path::Raw => !is_private,
            Path::Events { .. } => {
                said.from.as_ref() == from
                    && said.to.is_some() == is_private
                    && said.to.as_ref().is_none_or(|to| judge.name.as_ref() == Some(to))
                    && said.room.as_deref() == if is_private { None } else { room }
                    && !sent.content.is_binary
            }
            Path::Echo => false,
        };
        if sent.content != said.content || !is_envelope_right {
            return found(Kind::Altered, format!("{said:?}, and {sent:?} from {place:?} was sent"));
        }
        // Whether it comes once, and in order.
        let latest = judge.latest.entry(message.sender).or_insert(message.number);
        if !judge.received.insert(message) {
            return found(Kind::Duplicate, format!("{message} arrived twice"));
        }
        if judge.holes.remove(&message) || message.number < *latest {
            let text = format!("{message} arrived after {}.{latest}", message.sender);
            return found(Kind::Reordered, text);
        }
        *latest = message.number;
        if let Some(membership) = judge.membership.as_mut().filter(|_| !is_private) {
            // The messages of this sender that must have arrived before.
            let first = match membership.last.insert(message.sender, message.number) {
                Some(last) => last + 1,
                None => sender.sent.partition_point(|sent| sent.at <= membership.from),
            };
            let skipped = (first..message.number)
                .filter(|&number| sender.is_heard(&sender.sent[number], &membership.room, path));
            let sender = message.sender;
            judge.holes.extend(skipped.map(|number| MessageId { sender, number }));
            membership.view.push(message);
        }
    }

    /// Checks that everything has arrived that had been processed before a moment, or at all.
    fn judge_fence(
        &mut self,
        id: ConnectionId,
        judge: &mut Judge,
        until: Option<Moment>,
        findings: &mut Vec<Finding>,
    ) {
        for message in mem::take(&mut judge.holes) {
            let text = format!("{message} has not arrived, and a later one has");
            findings.push((Kind::Missing, text, Some(message)));
        }
        let Some(membership) = &mut judge.membership else { return };
        let path = self.connections[id].path;
        let log = self.rooms.get(&membership.room).map_or(&[][..], Vec::as_slice);
        let new = log.get(membership.looked_at..).unwrap_or_default();
        membership.looked_at = log.len();
        let open = mem::take(&mut membership.open).into_iter().chain(new.iter().copied());
        for message in open {
            let sender = &self.connections[message.sender];
            let sent = &sender.sent[message.number];
            let is_due = message.sender != id
                && sent.at > membership.from
                && sender.is_heard(sent, &membership.room, path);
            if !is_due {
                continue;
            }
            let processed = sender.processed_at(message.number);
            let must_be_here = processed.is_some_and(|at| until.is_none_or(|until| at < until));
            match (judge.received.contains(&message), must_be_here) {
                (true, _) => self.counts.certain += 1,
                (false, true) => {
                    let text = format!(
                        "{message} was processed, and has not arrived in {}",
                        membership.room
                    );
                    findings.push((Kind::Missing, text, Some(message)));
                }
                (false, false) => membership.open.push(message),
            }
        }
    }

    /// Checks that the private messages have arrived that had been processed before a moment, or at all.
    fn judge_owed(&mut self, id: ConnectionId, until: Option<Moment>, findings: &mut Vec<Finding>) {
        let owed = &mut self.connections[id].owed;
        owed.retain(|message, processed| {
            let is_missing = until.is_none_or(|until| *processed < until);
            if is_missing {
                let text = format!("the private {message} was accepted, and has not arrived");
                findings.push((Kind::Missing, text, Some(*message)));
            }
            !is_missing
        });
    }

    fn judge_news(
        &self,
        id: ConnectionId,
        judge: &mut Judge,
        news: &News,
        findings: &mut Vec<Finding>,
    ) {
        let mut found = |text: String| findings.push((Kind::WrongNews, text, None));
        if self.connections[id].path != (Path::Events { news: true }) {
            return found(format!("{news:?}, without being asked for"));
        }
        let Some(membership) = &mut judge.membership else { return };
        if membership.room != news.room {
            return found(format!("{news:?} in {}", membership.room));
        }
        let Some(name) = &news.name else { return };
        let before = membership.present.insert(name.clone(), news.has_joined);
        if before == Some(news.has_joined) {
            found(format!("{news:?} twice"));
        }
    }

    fn judge_end(
        &mut self,
        id: ConnectionId,
        judge: &mut Judge,
        end: End,
        findings: &mut Vec<Finding>,
    ) {
        match end {
            // Judged once all clients have told what they have received.
            End::Everything => judge.is_complete = true,
            End::Processed(at) => {
                self.judge_fence(id, judge, Some(at), findings);
                self.judge_owed(id, Some(at), findings);
                self.leave(judge);
            }
            End::Open => {
                // What was skipped can be judged in any case.
                for message in mem::take(&mut judge.holes) {
                    let text = format!("{message} has not arrived, and a later one has");
                    findings.push((Kind::Missing, text, Some(message)));
                }
                self.leave(judge);
            }
        }
        if !judge.is_complete {
            *judge = Judge::default();
        }
    }

    /// Judges those to whom the server said goodbye.
    pub(super) fn judge_goodbye(&mut self, id: ConnectionId) {
        let mut judge = mem::take(&mut self.connections[id].judge);
        let mut findings = Vec::new();
        if mem::take(&mut judge.is_complete) {
            self.judge_fence(id, &mut judge, None, &mut findings);
            self.judge_owed(id, None, &mut findings);
            self.leave(&mut judge);
        }
        findings.into_iter().for_each(|finding| self.report(id, finding));
    }

    /// Keeps what was seen during a membership, to compare it with what others saw.
    fn leave(&mut self, judge: &mut Judge) {
        if let Some(membership) = judge.membership.take().filter(|it| it.view.len() > 1) {
            self.views.entry(membership.room).or_default().push(membership.view);
        }
    }
}
