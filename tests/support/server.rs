//! A server in a thread, and the check that it releases everything.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use framewise::config::Config;
use framewise::{Application, Echo, Handle, Server, Tcp, Transport};

use super::{Client, PATIENCE, any_origin};

/// A server that runs in a thread until the test process ends.
pub struct TestServer<A = Echo> {
    pub address: SocketAddr,
    pub handle: Handle<A>,
    state: Arc<(Mutex<Snapshot>, Condvar)>,
}

/// The state of the server after a pass of its loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub peers: usize,
    pub memberships: usize,
    pub passes: usize,
    pub stopped: bool,
    /// Every resource that a closed connection has to release.
    pub held: framewise::Snapshot,
}

impl TestServer {
    /// Starts an echo server with the defaults of the library that accepts any origin.
    pub fn echo() -> TestServer {
        TestServer::start(any_origin(), Echo::default())
    }
}

impl<A: Application + Send + 'static> TestServer<A> {
    /// Starts a server on a free port. In the package `tests/tls` it speaks TLS, and its address is that of a tunnel to it.
    pub fn start(config: Config, application: A) -> TestServer<A> {
        #[cfg(not(feature = "through-tls"))]
        return TestServer::over(config, application, Tcp);
        #[cfg(feature = "through-tls")]
        {
            let mut server = TestServer::over(config, application, tls_tests::pair().server());
            server.address = tls_tests::tunnel(server.address);
            server
        }
    }

    /// Starts a server on a free port, over a transport.
    pub fn over<T>(config: Config, application: A, transport: T) -> TestServer<A>
    where
        T: Transport<Stream: Send> + Send + 'static,
    {
        let config = config.listen("127.0.0.1", 0);
        let server = Server::bind(config, application).expect("a free port");
        let mut server = server.over(transport);
        let address = server.local_addrs().next().expect("one address");
        let handle = server.handle();
        let state = Arc::new((Mutex::new(Snapshot::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let mut passes = 0;
            while !server.has_stopped() {
                server.pass(None).expect("the loop runs");
                passes += 1;
                let held = server.snapshot();
                let (peers, memberships) = (held.connections(), held.memberships);
                let stopped = server.has_stopped();
                *shared.0.lock().expect("not poisoned") =
                    Snapshot { peers, memberships, passes, stopped, held };
                shared.1.notify_all();
            }
        });
        TestServer { address, handle, state }
    }

    /// Returns the state after the last pass.
    pub fn snapshot(&self) -> Snapshot {
        *self.state.0.lock().expect("not poisoned")
    }

    /// Waits until the server's state satisfies `wanted`.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let guard = self.state.0.lock().expect("not poisoned");
        let (snapshot, timeout) = self
            .state
            .1
            .wait_timeout_while(guard, PATIENCE, |snapshot| !wanted(snapshot))
            .expect("not poisoned");
        assert!(!timeout.timed_out(), "never came: {what}; last seen {snapshot:?}");
        *snapshot
    }

    /// Checks two invariants with the help of one more client, which also shows that the server still works. I2: every
    /// slot and membership has been released. I5: the loop sleeps, so the client causes only a few passes.
    pub fn is_back_to_baseline(&self) {
        let idle = self.wait_for("baseline", |now| {
            now.passes > 0 && now.held == framewise::Snapshot::default()
        });
        Client::open(self.address).leave();
        let after = self.wait_for("baseline after another client", |now| {
            now.peers == 0 && now.passes > idle.passes
        });
        let passes = after.passes - idle.passes;
        assert!(passes < 50, "the loop does not sleep: {passes} passes for one client");
    }
}
