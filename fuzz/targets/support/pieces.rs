//! A connection that receives bytes in pieces, as several fuzz targets need it.

use framewise::protocol::connection::{Connection, Event, State};

/// Passes bytes to a connection, in pieces of the lengths in `cuts`. Returns its events. No message may be longer than
/// `max_message`, and after the close there are no events.
pub fn receive(
    connection: &mut Connection,
    bytes: &[u8],
    cuts: &[u8],
    max_message: usize,
) -> Vec<String> {
    let mut seen = Vec::new();
    let mut cuts = cuts.iter().map(|&cut| usize::from(cut).max(1)).cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = cuts.next().unwrap_or(rest.len()).min(rest.len());
        let (piece, after) = rest.split_at(length);
        rest = after;
        let was_closed = connection.state() == State::Closed;
        connection.receive(&mut piece.to_vec(), |event, _| {
            assert!(!was_closed, "there are no events after the close");
            if let Event::Message(message) = &event {
                assert!(message.as_message().bytes().len() <= max_message, "the limit holds");
            }
            seen.push(format!("{event:?}"));
        });
    }
    seen
}
