//! `weir import`: another director's configuration in Weir's words.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use weir_import::{Imported, Kind, OnDisk, Options, import};

/// Largest file that is read.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What is imported.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// Whose file it is.
    #[arg(value_parser = kinds())]
    kind: Kind,
    /// The file; "-" is standard input.
    file: PathBuf,
    /// keepalived's --config-id, on which lines that begin with "@" depend.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

fn kinds() -> impl clap::builder::TypedValueParser<Value = Kind> {
    let names = Kind::ALL.map(Kind::name);
    PossibleValuesParser::new(names).map(|name| {
        let mut kinds = Kind::ALL.into_iter();
        let kind = kinds.find(|kind| kind.name() == name);
        kind.expect("only these names are let through")
    })
}

/// Prints Weir's configuration, and how it went by the exit code.
pub(crate) fn run(args: &ImportArgs) -> ExitCode {
    let imported = match read(&args.file) {
        Ok(text) => {
            let options = Options {
                config_id: args.id.as_deref(),
                files: &OnDisk,
            };
            import(args.kind, &args.file.to_string_lossy(), &text, options)
        }
        Err(error) => {
            let file = args.file.display();
            let _ = writeln!(io::stderr(), "weir: {file} cannot be read: {error}");
            return ExitCode::from(2);
        }
    };
    print(&imported)
}

fn print(imported: &Imported) -> ExitCode {
    match io::stdout().write_all(imported.text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(2),
        _ => ExitCode::from(imported.outcome.code()),
    }
}

/// The text of a file. Bytes that are no UTF-8, as old comments have them, are replaced.
fn read(file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().take(BYTES_MAX + 1).read_to_end(&mut bytes)?
    } else {
        let file = std::fs::File::open(file)?;
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?
    };
    if read as u64 > BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
