//! Where lines to send come from: a line editor on a terminal, standard input in a pipe.

use std::fs;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use framewise::Interrupter;
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{DefaultEditor, Editor};

use crate::connect::show::Printer;

/// Lines that may wait to be sent.
const MAX_WAITING: usize = 16;

/// Lines that the history keeps.
const MAX_HISTORY: usize = 1_000;

/// The longest line of a pipe in bytes; what is more is an error, not memory.
pub const MAX_LINE: usize = 16 << 20;

/// What was typed.
#[derive(Debug)]
pub enum Input {
    /// A line, without its end.
    Line(Vec<u8>),
    /// Ctrl+D, or the end of the pipe.
    End,
    /// Ctrl+C.
    Stop,
    /// A line of a pipe that is too long.
    TooLong,
    /// Standard input cannot be read.
    Failed(String),
}

/// Makes the client look at its lines: another one after each reconnection.
#[derive(Clone, Default)]
pub struct Bell(Arc<Mutex<Option<Interrupter>>>);

impl Bell {
    /// From now on it rings for this client.
    pub fn set(&self, interrupter: Interrupter) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(interrupter);
    }

    fn ring(&self) {
        if let Some(interrupter) =
            &*self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        {
            // A client that cannot be woken is gone, and says so itself.
            let _ = interrupter.interrupt();
        }
    }
}

/// Lines to send.
pub struct Lines {
    pub typed: Receiver<Input>,
    /// Rings when there is another one.
    pub bell: Bell,
    /// Prints above the one that is being typed.
    pub printer: Option<Printer>,
    /// The settings that the terminal had.
    pub settings: Option<Terminal>,
}

/// Whether somebody sits there.
pub fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Lines that are known already, then the end.
pub fn given(lines: Vec<String>) -> Lines {
    let (sender, typed) = sync_channel(lines.len() + 1);
    let lines = lines.into_iter().map(|line| Input::Line(line.into_bytes()));
    for input in lines.chain([Input::End]) {
        sender.send(input).expect("room for all");
    }
    Lines { typed, bell: Bell::default(), printer: None, settings: None }
}

/// Lines of standard input.
pub fn piped() -> Lines {
    let (sender, typed) = sync_channel(MAX_WAITING);
    let bell = Bell::default();
    let rings = bell.clone();
    thread::spawn(move || {
        let end = read_pipe(&sender, &rings);
        let _ = sender.send(end);
        rings.ring();
    });
    Lines { typed, bell, printer: None, settings: None }
}

fn read_pipe(sender: &SyncSender<Input>, bell: &Bell) -> Input {
    let mut input = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        // A line of the longest kind, and its end.
        match io::Read::take(&mut input, MAX_LINE as u64 + 2).read_until(b'\n', &mut line) {
            Ok(0) => return Input::End,
            Ok(_) => {}
            Err(error) => return Input::Failed(error.to_string()),
        }
        if line.pop_if(|byte| *byte == b'\n').is_some() {
            line.pop_if(|byte| *byte == b'\r');
        }
        if line.len() > MAX_LINE {
            return Input::TooLong;
        }
        if sender.send(Input::Line(line)).is_err() {
            return Input::End;
        }
        bell.ring();
    }
}

/// Lines that somebody types, with editing and a history on disk.
///
/// # Errors
///
/// The terminal cannot be used.
pub fn edited() -> rustyline::Result<Lines> {
    let settings = Some(Terminal::save());
    let bell = Bell::default();
    let rings = bell.clone();
    let config = Config::builder().max_history_size(MAX_HISTORY)?.auto_add_history(true).build();
    let mut editor: Editor<(), FileHistory> = DefaultEditor::with_config(config)?;
    let printer: Printer = Box::new(editor.create_external_printer()?);
    let history = history_file();
    if let Some(file) = &history {
        // The first time there is none.
        let _ = editor.load_history(file);
    }
    let (sender, typed) = sync_channel(MAX_WAITING);
    thread::spawn(move || {
        loop {
            let input = match editor.readline("> ") {
                Ok(line) => Input::Line(line.into_bytes()),
                Err(ReadlineError::Eof) => Input::End,
                Err(ReadlineError::Interrupted) => Input::Stop,
                Err(error) => Input::Failed(error.to_string()),
            };
            if let Some(file) = &history {
                let _ = editor.append_history(file);
            }
            // Whoever leaves needs no other prompt.
            let over = match &input {
                Input::Line(line) => is_farewell(line),
                _ => true,
            };
            if sender.send(input).is_err() || over {
                rings.ring();
                return;
            }
            rings.ring();
        }
    });
    Ok(Lines { typed, bell, printer: Some(printer), settings })
}

/// Whether this line ends the program, connected or not.
pub fn is_farewell(line: &[u8]) -> bool {
    matches!(line.trim_ascii_end(), b"/sair" | b"/exit" | b"/quit")
}

/// The settings of the terminal, restored when the line editor is left in the middle of a line.
#[cfg(unix)]
pub struct Terminal(Option<rustix::termios::Termios>);

/// Where there are no such settings, nothing has to be restored.
#[cfg(not(unix))]
pub struct Terminal;

impl Terminal {
    #[cfg(unix)]
    pub fn save() -> Terminal {
        Terminal(rustix::termios::tcgetattr(io::stdin()).ok())
    }

    #[cfg(not(unix))]
    pub fn save() -> Terminal {
        Terminal
    }
}

#[cfg(unix)]
impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(settings) = &self.0 {
            let when = rustix::termios::OptionalActions::Now;
            let _ = rustix::termios::tcsetattr(io::stdin(), when, settings);
        }
    }
}

/// `$XDG_STATE_HOME/framewise/history`, or below `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = var("XDG_STATE_HOME").or_else(|| Some(var("HOME")?.join(".local/state")))?;
    let folder = state.join("framewise");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}
