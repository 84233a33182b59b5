//! What most tests do with a [`Stage`]: open connections, close them, and check that everything was released.

use framewise::config::Config;
use framewise::{Application, Snapshot, Transport};

pub use super::script::{Actor, Script, Stage};
use super::{SWITCHING, frame, request, show};

/// Returns a stage without connections.
pub fn stage<A: Application>(config: Config, application: A) -> Stage<A> {
    Stage::new(config.validate().expect("valid"), application)
}

/// Opens a connection. Expects the response to the opening handshake, and no frame after it.
#[track_caller]
pub fn open<A: Application>(stage: &mut Stage<A>) -> Actor {
    let actor = stage.connect();
    stage.send(&actor, &request(""));
    stage.pass();
    assert_eq!(show(&stage.heard(&actor)), show(SWITCHING));
    actor
}

/// Opens `count` connections.
#[track_caller]
pub fn open_all<A: Application>(stage: &mut Stage<A>, count: usize) -> Vec<Actor> {
    (0..count).map(|_| open(stage)).collect()
}

/// Every actor sends a Close and closes TCP. Checks that everything was released.
#[track_caller]
pub fn leave_all<A: Application>(stage: &mut Stage<A>, actors: &[&Actor]) {
    for actor in actors {
        stage.send(actor, &frame(0x88, b""));
        stage.finish(actor);
    }
    stage.pass();
    is_back_to_baseline(stage);
}

/// Checks invariant I2: the loop holds no connection, no byte and no deadline.
#[track_caller]
pub fn is_back_to_baseline<A: Application, T: Transport>(stage: &Stage<A, T>) {
    assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
    assert_eq!(stage.event_loop.next_deadline(), None);
}
