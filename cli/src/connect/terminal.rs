//! The mode of the terminal, and the signals, while a person types.
//!
//! The line editor switches the terminal to raw mode for each line and back after it. In the moment between two lines,
//! the kernel would edit what arrives: it would echo it, cut a line at 4,095 bytes, and act on Ctrl+C and Ctrl+D itself.
//! So the terminal is in raw mode before the editor starts, and the editor's switches change nothing. The settings that
//! the shell had come back when the program ends, and while it is stopped with Ctrl+Z.

use std::io;
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr,
    tcsetattr,
};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long to wait for the stop after Ctrl+Z. Without a shell that could continue it, the process is not stopped.
const STOP_WAIT: Duration = Duration::from_millis(300);

/// The terminal of standard input, if it is one.
#[derive(Clone)]
pub struct Terminal(Arc<Shared>);

struct Shared {
    /// The settings before the program changed them.
    original: Option<Termios>,
    state: Mutex<State>,
    /// The process was continued after a stop.
    continued: Condvar,
}

#[derive(Default)]
struct State {
    /// The terminal is in raw mode, or will be when the process is continued.
    is_raw: bool,
    /// The editor waits for the end of a stop that Ctrl+Z began.
    is_suspended: bool,
    /// The program is about to end. Signals that ask for that need no reaction.
    is_leaving: bool,
    /// How often the process was continued.
    times_continued: u64,
}

impl Terminal {
    /// Remembers the settings of the terminal.
    pub fn new() -> Terminal {
        let original = tcgetattr(io::stdin()).ok();
        let state = Mutex::default();
        Terminal(Arc::new(Shared { original, state, continued: Condvar::new() }))
    }

    /// Switches to raw mode.
    pub fn enter_raw(&self) {
        self.state().is_raw = true;
        self.apply(true);
    }

    /// Restores the settings. Has no effect in later calls.
    pub fn restore(&self) {
        if std::mem::take(&mut self.state().is_raw) {
            self.apply(false);
        }
    }

    /// Announces that the program ends.
    pub fn leave(&self) {
        self.state().is_leaving = true;
    }

    /// Reports whether the program ends.
    pub fn is_leaving(&self) -> bool {
        self.state().is_leaving
    }

    /// Returns the key that stops a program, usually Ctrl+Z.
    pub fn suspend_key(&self) -> Option<char> {
        let code = self.0.original.as_ref()?.special_codes[SpecialCodeIndex::VSUSP];
        (code != 0).then(|| char::from(code))
    }

    /// Stops the process, as Ctrl+Z does in other programs, and returns when it is continued. The shell has its settings
    /// meanwhile. A shell may restore them when it continues the process, so raw mode is set after that.
    pub fn suspend(&self) {
        let before = {
            let mut state = self.state();
            state.is_suspended = true;
            state.times_continued
        };
        self.apply(false);
        let _ = kill_current_process_group(Signal::TSTP);
        // Another thread may take the signal, so this one still runs for a moment.
        let wait = |state: &mut State| state.times_continued == before;
        let waited = self.0.continued.wait_timeout_while(self.state(), STOP_WAIT, wait);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_suspended = false;
        if state.is_raw {
            self.apply(true);
        }
    }

    /// Sets the mode again after the process was continued. Reports whether the line has to be drawn again.
    fn resume(&self) -> bool {
        let mut state = self.state();
        state.times_continued += 1;
        self.0.continued.notify_all();
        if state.is_raw {
            self.apply(true);
        }
        !state.is_suspended && !state.is_leaving
    }

    fn apply(&self, raw: bool) {
        let Some(original) = &self.0.original else { return };
        let settings = if raw { raw_mode(original) } else { original.clone() };
        // `Now` and `Drain` keep what was typed; `Flush` would discard it.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &settings);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same settings that the line editor uses.
fn raw_mode(original: &Termios) -> Termios {
    let mut raw = original.clone();
    raw.input_modes -= InputModes::BRKINT
        | InputModes::ICRNL
        | InputModes::INPCK
        | InputModes::ISTRIP
        | InputModes::IXON;
    raw.control_modes |= ControlModes::CS8;
    raw.local_modes -=
        LocalModes::ECHO | LocalModes::ICANON | LocalModes::IEXTEN | LocalModes::ISIG;
    raw.special_codes[SpecialCodeIndex::VMIN] = 1;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    raw
}

/// Calls `stop` on the first signal that ends a program. The second one ends it at once. Calls `redraw` after the
/// process was stopped and continued.
///
/// # Errors
///
/// The operating system does not let the program handle the signals.
pub fn watch_signals(
    terminal: &Terminal,
    stop: impl Fn() + Send + 'static,
    redraw: impl Fn() + Send + 'static,
) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGCONT])?;
    let terminal = terminal.clone();
    thread::spawn(move || {
        let mut has_stopped = false;
        for signal in signals.forever() {
            match signal {
                SIGCONT => {
                    if terminal.resume() {
                        redraw();
                    }
                }
                // The line editor is woken with SIGINT at the end.
                SIGINT if terminal.is_leaving() => {}
                _ if has_stopped => {
                    terminal.restore();
                    process::exit(128 + signal);
                }
                _ => {
                    has_stopped = true;
                    stop();
                }
            }
        }
    });
    Ok(())
}

/// Interrupts the line editor, which then returns from the line that is being typed.
pub fn interrupt_editor() {
    let _ = signal_hook::low_level::raise(SIGINT);
}
