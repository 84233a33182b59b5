//! How many bytes labels allocate, which bounds what they copy. The test runs in a process of its own, because the allocator
//! counts for the whole process.

use std::alloc::System;

use cap::Cap;
use framewise::Config;
use framewise::labels::Labeller;
use framewise::protocol::frame::Role;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// The work for many heads in one piece grows with their number, not with its square: what follows a head is not copied
/// for it.
#[test]
fn heads_in_one_piece_are_labelled_in_linear_work() {
    let config = Config::default().limits(|limits| limits.max_requests = 1 << 20);
    let config = config.validate().expect("valid");
    for (sender, head) in [
        (Role::Server, "HTTP/1.1 204 x\r\n\r\n"),
        (Role::Client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ] {
        let cost = |count: usize| {
            let wire = head.repeat(count);
            let mut labeller = Labeller::new(sender, config.clone());
            let (before, mut items) = (ALLOCATOR.total_allocated(), 0);
            labeller.feed(wire.as_bytes(), &mut |_| items += 1);
            assert!(items >= 3 * count, "every head is labelled");
            ALLOCATOR.total_allocated() - before
        };
        let (some, many) = (cost(500), cost(5_000));
        assert!(many < 15 * some, "{sender:?}: {some} bytes for 500 heads, {many} for 5000");
    }
}
