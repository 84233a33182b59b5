//! My own server. To start it: cargo run --quiet --example server

use framewise::{Config, Dispatcher, Message, Outbox, Server};

struct MyServer;

impl Dispatcher for MyServer {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut server = Server::bind(Config::default(), MyServer)?;
    println!("Listening on {}", server.local_addr()?);
    server.run()?;
    Ok(())
}
