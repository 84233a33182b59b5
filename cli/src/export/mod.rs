//! `framewise export`: a recording as a capture of packets, as an HTTP archive or as an illustrated page.

mod har;
mod html;
mod pcap;

use std::fs;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use framewise::lang::Lang;

use crate::recording::format::Reason;
use crate::recording::reader::{End, Reader, Whole};
use crate::recording::recorder::create_private;
use crate::texts::{self, complain};

/// The most bytes of reads and writes in an archive. They are read before the first entry is written.
const MAX_HAR: usize = 256 << 20;

/// The most bytes of reads and writes on a page: a browser shows each of them several times.
const MAX_HTML: usize = 4 << 20;

/// Convert a recording of framewise serve --record for Wireshark, for a browser's developer tools, or to a page
#[derive(clap::Args, Clone, Debug)]
#[command(
    group = clap::ArgGroup::new("format").required(true).args(["pcap", "har", "html"]),
    after_help = "Example: framewise export --pcap class.jsonl -o class.pcap
         framewise export --html class.jsonl -o class.html"
)]
pub struct Args {
    /// The recording; - is the standard input
    #[arg(value_name = "FILE")]
    pub recording: String,
    /// Write a capture of packets with made-up IP and TCP, for Wireshark and tshark
    #[arg(long)]
    pub pcap: bool,
    /// Write an HTTP archive (HAR 1.2), for the developer tools of a browser
    #[arg(long)]
    pub har: bool,
    /// Write one page that explains every byte, without any outside request
    #[arg(long)]
    pub html: bool,
    /// Write to this file, which must not exist, instead of the standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Converts a recording. Returns 0, or 1 if that was not possible.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    match export(&args, lang) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(lang, why);
            ExitCode::FAILURE
        }
    }
}

fn export(args: &Args, lang: Lang) -> Result<(), String> {
    let reader = Reader::open(&args.recording, lang)?;
    if args.pcap && args.output.is_none() && io::stdout().is_terminal() {
        return Err(texts::EXPORT_TERMINAL.get(lang).to_owned());
    }
    let (mut out, name) = output(args.output.as_deref(), lang)?;
    let end = match convert(args, reader, lang, &mut out) {
        Ok(end) => end,
        // The reader of the pipe has gone, which is no fault.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
        Err(failure) => {
            // Half a result looks like a whole one. This file is new, so nothing else is lost.
            if let Some(path) = &args.output {
                let _ = fs::remove_file(path);
            }
            return Err(match failure {
                Failure::Recording(why) => why,
                Failure::Output(error) => format!("{name}: {error}"),
            });
        }
    };
    note_end(end, lang);
    Ok(())
}

fn convert(args: &Args, reader: Reader, lang: Lang, out: &mut impl Write) -> Result<End, Failure> {
    let end = if args.pcap {
        pcap::export(reader, out)?
    } else {
        let most = if args.har { MAX_HAR } else { MAX_HTML };
        let recording = Whole::read(reader, most).map_err(Failure::Recording)?;
        if args.har {
            har::export(&recording, lang, out)?;
        } else {
            html::export(&recording, lang, out)?;
        }
        recording.end
    };
    out.flush()?;
    Ok(end)
}

/// Why a conversion has failed.
enum Failure {
    /// The recording, in words for a person.
    Recording(String),
    /// What the result is written to.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// Returns where the result is written, and its name in errors.
fn output(path: Option<&Path>, lang: Lang) -> Result<(BufWriter<Box<dyn Write>>, String), String> {
    let (out, name): (Box<dyn Write>, String) = match path {
        None => (Box::new(io::stdout()), "-".to_owned()),
        Some(path) => {
            let name = path.display().to_string();
            let file = create_private(path).map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => texts::FILE_EXISTS.with(lang, &[&name]),
                _ => format!("{name}: {error}"),
            })?;
            (Box::new(file), name)
        }
    };
    Ok((BufWriter::new(out), name))
}

/// Says on standard error that a recording is not all that happened.
pub fn note_end(end: End, lang: Lang) {
    let note = match end {
        End::Reason(Reason::Stopped) => return,
        End::Reason(Reason::Limit) => texts::RECORDING_LIMITED,
        End::Reason(Reason::Slow) => texts::RECORDING_SLOW,
        End::BreaksOff => texts::RECORDING_BREAKS_OFF,
    };
    let _ = writeln!(io::stderr(), "{}", note.get(lang));
}
