//! Where lines to send come from: a line editor on a terminal, a terminal without one, or a pipe.
//!
//! A person's lines are read as soon as they are typed, also while there is no connection. They wait in a queue, so that
//! Ctrl+C is always noticed. A pipe is only read as fast as its lines are sent.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel,
};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use framewise::Interrupter;
use framewise::lang::Lang;
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{
    Cmd, ConditionalEventHandler, DefaultEditor, Editor, Event, EventContext, EventHandler,
    KeyCode, KeyEvent, Modifiers, RepeatCount,
};

use crate::connect::show::{Above, Place};
#[cfg(unix)]
use crate::connect::terminal::{self, Terminal};
use crate::texts;

/// Lines of a pipe that may wait to be sent.
const MAX_WAITING: usize = 16;

/// The bytes of typed lines that may wait to be sent. A line beyond that is refused, and its author is told.
const MAX_TYPED: usize = 16 << 20;

/// The memory that a waiting line needs beyond its bytes, rounded up.
const LINE_COST: usize = 64;

/// Lines that the history keeps.
const MAX_HISTORY: usize = 1_000;

/// The longest line of a pipe in bytes. A longer one is an error.
pub const MAX_LINE: usize = 16 << 20;

/// The longest line in bytes that a terminal of Linux passes on while the kernel edits it. The kernel drops the rest.
pub const MAX_KERNEL_LINE: usize = 4095;

/// How long the editor may take to interpret Escape. It shows no message meanwhile.
const ESCAPE_MS: u16 = 500;

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

/// Wakes the client when there is a line. Each connection has another client.
#[derive(Clone, Default)]
pub struct Waker(Arc<Mutex<Option<Interrupter>>>);

impl Waker {
    /// From now on wakes this client.
    pub fn set(&self, interrupter: Interrupter) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(interrupter);
    }

    fn wake(&self) {
        if let Some(interrupter) =
            &*self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        {
            // A client that cannot be woken reports that itself.
            let _ = interrupter.interrupt();
        }
    }
}

/// Lines to send.
pub struct Lines {
    typed: Receiver<Input>,
    /// Input that was received while it could not be sent.
    held: VecDeque<Input>,
    /// The size of the typed lines that wait. `None` if nobody types.
    waiting: Option<Arc<AtomicUsize>>,
    /// Wakes the client when there is another line.
    pub waker: Waker,
    #[cfg(unix)]
    editing: Option<Editing>,
}

/// The line editor's thread.
#[cfg(unix)]
struct Editing {
    terminal: Terminal,
    /// Is disconnected when the thread has ended. A message before that means: the last prompt is still empty.
    ended: Receiver<()>,
}

/// The sending end of the queue of typed lines.
#[derive(Clone)]
struct Typed {
    sender: Sender<Input>,
    waiting: Arc<AtomicUsize>,
    waker: Waker,
}

impl Typed {
    /// Queues input. Returns false if so much waits already that a line has no place.
    fn push(&self, input: Input) -> bool {
        let cost = cost(&input);
        let waiting = self.waiting.load(Ordering::Relaxed);
        if cost > 0 && waiting + cost > MAX_TYPED {
            return false;
        }
        self.waiting.fetch_add(cost, Ordering::Relaxed);
        // If there is no receiver any more, the program is about to end.
        let _ = self.sender.send(input);
        self.waker.wake();
        true
    }

    /// Queues a line, or tells its author that there is no place.
    fn push_line(&self, line: Vec<u8>, above: &Above, lang: Lang) {
        if !self.push(Input::Line(line)) {
            above.print(&texts::NOT_SENT_FULL.with(lang, &[&(MAX_TYPED >> 20)]));
        }
    }
}

fn cost(input: &Input) -> usize {
    match input {
        Input::Line(line) => line.len() + LINE_COST,
        _ => 0,
    }
}

impl Lines {
    fn new(typed: Receiver<Input>, waker: Waker) -> Lines {
        Lines {
            typed,
            held: VecDeque::new(),
            waiting: None,
            waker,
            #[cfg(unix)]
            editing: None,
        }
    }

    /// Returns an empty queue for a person's lines, and its sending end.
    fn typed() -> (Lines, Typed) {
        let (sender, receiver) = channel();
        let mut lines = Lines::new(receiver, Waker::default());
        let waiting = Arc::clone(lines.waiting.get_or_insert_default());
        let typed = Typed { sender, waiting, waker: lines.waker.clone() };
        (lines, typed)
    }

    /// Returns the next input without waiting for it.
    pub fn try_next(&mut self) -> Result<Input, TryRecvError> {
        let input = self.held.pop_front().map_or_else(|| self.typed.try_recv(), Ok)?;
        if let Some(waiting) = &self.waiting {
            waiting.fetch_sub(cost(&input), Ordering::Relaxed);
        }
        Ok(input)
    }

    /// Reports whether a person types the lines.
    pub fn is_typed(&self) -> bool {
        self.waiting.is_some()
    }

    /// Waits while there is no connection, and keeps what is typed. Returns false if the person wants to stop.
    pub fn hold(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        if self.held.iter().any(ends) {
            return false;
        }
        loop {
            match self.typed.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(input) => {
                    let ends = ends(&input);
                    self.held.push_back(input);
                    if ends {
                        return false;
                    }
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Reports whether Ctrl+C was typed, also behind lines that cannot be sent yet.
    pub fn is_stopped(&mut self) -> bool {
        self.held.extend(self.typed.try_iter());
        self.held.iter().any(|input| matches!(input, Input::Stop))
    }

    /// Removes the lines that wait and returns how many they were.
    pub fn discard(&mut self) -> usize {
        let all = self.held.drain(..).chain(self.typed.try_iter());
        all.filter(
            |input| matches!(input, Input::Line(line) if !line.is_empty() && !is_farewell(line)),
        )
        .count()
    }

    /// Ends the line editor, which may be in the middle of a line, and restores the terminal. Returns true if an empty
    /// prompt is left on the screen.
    pub fn leave_terminal(&mut self) -> bool {
        #[cfg(unix)]
        if let Some(Editing { terminal, ended }) = self.editing.take() {
            terminal.leave();
            let mut is_empty = false;
            // An editor in the middle of a search does not notice the signal.
            for _ in 0..100 {
                match ended.recv_timeout(Duration::from_millis(10)) {
                    Ok(()) => is_empty = true,
                    Err(RecvTimeoutError::Timeout) => terminal::interrupt_editor(),
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            terminal.restore();
            return is_empty;
        }
        false
    }
}

/// Reports whether this input ends a program that has no connection.
fn ends(input: &Input) -> bool {
    match input {
        Input::Line(line) => is_farewell(line),
        Input::End | Input::Stop | Input::TooLong | Input::Failed(_) => true,
    }
}

/// Reports whether standard input is a terminal.
pub fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Returns lines that are known already, then the end.
pub fn given(lines: Vec<String>) -> Lines {
    let (sender, typed) = sync_channel(lines.len() + 1);
    let lines = lines.into_iter().map(|line| Input::Line(line.into_bytes()));
    for input in lines.chain([Input::End]) {
        sender.send(input).expect("room for all");
    }
    Lines::new(typed, Waker::default())
}

/// Returns the lines of standard input.
pub fn piped() -> Lines {
    let (sender, typed) = sync_channel(MAX_WAITING);
    let waker = Waker::default();
    let wakes = waker.clone();
    thread::spawn(move || {
        let end = read_pipe(&sender, &wakes);
        let _ = sender.send(end);
        wakes.wake();
    });
    Lines::new(typed, waker)
}

fn read_pipe(sender: &SyncSender<Input>, waker: &Waker) -> Input {
    let mut input = io::stdin().lock();
    loop {
        match read_line(&mut input) {
            Input::Line(line) => {
                if sender.send(Input::Line(line)).is_err() {
                    return Input::End;
                }
            }
            end => return end,
        }
        waker.wake();
    }
}

/// Reads one line.
fn read_line(input: &mut impl BufRead) -> Input {
    let mut line = Vec::new();
    // The longest line, and its end.
    match io::Read::take(input, MAX_LINE as u64 + 2).read_until(b'\n', &mut line) {
        Ok(0) => return Input::End,
        Ok(_) => {}
        Err(error) => return Input::Failed(error.to_string()),
    }
    if line.pop_if(|byte| *byte == b'\n').is_some() {
        line.pop_if(|byte| *byte == b'\r');
    }
    if line.len() > MAX_LINE { Input::TooLong } else { Input::Line(line) }
}

/// Returns the lines that a person types where no line editor works: the terminal cannot move its cursor, or what the
/// program prints goes elsewhere. The kernel edits the line. `above` becomes the place for prompts.
pub fn plain(above: &Above, lang: Lang) -> Lines {
    let (lines, typed) = Lines::typed();
    above.set(Some(Place::plain()));
    #[cfg(unix)]
    {
        let stopped = typed.clone();
        let stop = move || {
            stopped.push(Input::Stop);
        };
        let redraw = {
            let above = above.clone();
            move || above.redraw()
        };
        if let Err(error) = terminal::watch_signals(&Terminal::new(), stop, redraw) {
            above.print(&texts::ERROR.with(lang, &[&error]));
        }
    }
    let above = above.clone();
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            above.prompt();
            let read = read_line(&mut input);
            if matches!(read, Input::Line(_)) {
                above.line_was_typed();
            }
            match read {
                Input::Line(line) if cfg!(target_os = "linux") && line.len() >= MAX_KERNEL_LINE => {
                    above.print(&texts::NOT_SENT_CUT.with(lang, &[&MAX_KERNEL_LINE]));
                }
                Input::Line(line) => {
                    let is_farewell = is_farewell(&line);
                    typed.push_line(line, &above, lang);
                    if is_farewell {
                        return;
                    }
                }
                end => {
                    typed.push(end);
                    return;
                }
            }
        }
    });
    lines
}

/// Returns the lines that a person types, with editing and a history on disk. `above` becomes the place above the line
/// that is being typed.
///
/// # Errors
///
/// The line editor cannot use the terminal.
pub fn edited(above: &Above, lang: Lang) -> rustyline::Result<Lines> {
    let config = Config::builder()
        .max_history_size(MAX_HISTORY)?
        .auto_add_history(true)
        .keyseq_timeout(Some(ESCAPE_MS))
        .build();
    let mut editor: Editor<(), FileHistory> = DefaultEditor::with_config(config)?;
    let printer = editor.create_external_printer()?;
    above.set(Some(Place::editor(printer)));
    let history = history_file();
    if let Some(file) = &history {
        // The first time there is none.
        let _ = editor.load_history(file);
    }
    #[cfg_attr(not(unix), expect(unused_mut))]
    let (mut lines, typed) = Lines::typed();
    let is_touched = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    let (terminal, ending) = {
        let terminal = Terminal::new();
        terminal.enter_raw();
        let (ending, ended) = channel();
        lines.editing = Some(Editing { terminal: terminal.clone(), ended });
        let stopped = typed.clone();
        let stop = move || {
            stopped.push(Input::Stop);
        };
        let above = above.clone();
        terminal::watch_signals(&terminal, stop, move || above.redraw())?;
        (terminal, ending)
    };
    let keys = Keys {
        is_touched: Arc::clone(&is_touched),
        #[cfg(unix)]
        terminal: terminal.clone(),
    };
    editor.bind_sequence(Event::Any, EventHandler::Conditional(Box::new(keys)));
    let above = above.clone();
    thread::spawn(move || {
        loop {
            is_touched.store(false, Ordering::Relaxed);
            let read = editor.readline("> ");
            if let Some(file) = &history {
                let _ = editor.append_history(file);
            }
            #[cfg(unix)]
            if matches!(read, Err(ReadlineError::Interrupted)) && terminal.is_leaving() {
                if !is_touched.load(Ordering::Relaxed) {
                    let _ = ending.send(());
                }
                return;
            }
            let end = match read {
                Ok(line) => {
                    let is_farewell = is_farewell(line.as_bytes());
                    typed.push_line(line.into_bytes(), &above, lang);
                    if !is_farewell {
                        continue;
                    }
                    // There is no other prompt after it.
                    None
                }
                Err(ReadlineError::Eof) => Some(Input::End),
                Err(ReadlineError::Interrupted) => Some(Input::Stop),
                // The editor has dropped the line.
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    above.print(texts::NOT_SENT_UTF8.get(lang));
                    continue;
                }
                Err(error) => Some(Input::Failed(error.to_string())),
            };
            // A second Ctrl+C while the connection closes is for the kernel.
            #[cfg(unix)]
            terminal.restore();
            if let Some(end) = end {
                typed.push(end);
            }
            return;
        }
    });
    Ok(lines)
}

/// The keys that the editor would interpret otherwise.
struct Keys {
    /// A key was pressed since the prompt was shown.
    is_touched: Arc<AtomicBool>,
    #[cfg(unix)]
    terminal: Terminal,
}

impl ConditionalEventHandler for Keys {
    fn handle(&self, event: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        self.is_touched.store(true, Ordering::Relaxed);
        let key = *event.get(0)?;
        // There is nothing to complete, and what is pasted may contain tabs.
        if key == KeyEvent(KeyCode::Tab, Modifiers::NONE) {
            return Some(Cmd::Insert(1, "\t".to_owned()));
        }
        #[cfg(unix)]
        if self.terminal.suspend_key().is_some_and(|c| key == KeyEvent::new(c, Modifiers::NONE)) {
            self.terminal.suspend();
            return Some(Cmd::Repaint);
        }
        None
    }
}

/// Reports whether this line ends the program, connected or not.
pub fn is_farewell(line: &[u8]) -> bool {
    matches!(line.trim_ascii_end(), b"/sair" | b"/exit" | b"/quit")
}

/// Returns `$XDG_STATE_HOME/framewise/history`, or the file below `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = var("XDG_STATE_HOME").or_else(|| Some(var("HOME")?.join(".local/state")))?;
    let folder = state.join("framewise");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(length: usize) -> Input {
        Input::Line(vec![b'a'; length])
    }

    #[test]
    fn typed_lines_wait_up_to_a_limit() {
        let (mut lines, typed) = Lines::typed();
        assert!(!typed.push(line(MAX_TYPED)), "with its cost it is over the limit");
        assert!(typed.push(line(MAX_TYPED - LINE_COST)));
        assert!(!typed.push(line(0)));
        assert!(typed.push(Input::Stop), "Ctrl+C always has a place");
        assert!(lines.is_stopped());
        // What is sent makes room.
        assert!(
            matches!(lines.try_next(), Ok(Input::Line(line)) if line.len() == MAX_TYPED - LINE_COST)
        );
        assert!(typed.push(line(1)));
    }

    #[test]
    fn what_is_typed_without_a_connection_keeps_its_order() {
        let (mut lines, typed) = Lines::typed();
        for length in 1..=3 {
            assert!(typed.push(line(length)));
        }
        assert!(lines.hold(Duration::ZERO));
        assert!(typed.push(line(4)));
        for wanted in 1..=4 {
            assert!(matches!(lines.try_next(), Ok(Input::Line(line)) if line.len() == wanted));
        }
        assert!(typed.push(Input::Line(b"/exit".to_vec())));
        assert!(typed.push(line(5)));
        assert!(!lines.hold(Duration::from_secs(3600)));
        assert_eq!(lines.discard(), 1);
    }
}
