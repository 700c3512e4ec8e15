//! What was changed at run time, kept in the state directory for the next start.
//!
//! `run-time.json` holds what the file said (as far as it can change at run time) and what held when it
//! was written, and names a journal; each later change is a line of that journal. So is what holds beside
//! the configuration (`kept/beside.rs`), which has no file to be compared with. A change is written
//! before it is answered, so it survives the end of the process, however that comes. The disk is told
//! to keep it within a second, by a thread of its own: so much a loss of power may take.
//!
//! A snapshot is written beside the old one, put on the disk, and renamed: there is always a whole one.
//! It names a journal that does not exist yet, so that no change is ever applied twice. As long as
//! nothing was changed at run time there are no files.

pub(crate) mod beside;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};
use weir_model::{
    Changeable, Config, Ipvs, MarkRule, Operation, Rules, Service, Settings, Timeouts, Wanted,
};

use crate::merge::{Merged, merge};
use beside::Beside;

const SNAPSHOT: &str = "run-time.json";
/// Bytes of a journal after which a snapshot takes its place.
const JOURNAL_MAX: u64 = 16 << 20;

/// The state directory.
#[derive(Debug)]
pub struct Kept {
    directory: Option<PathBuf>,
    /// The number of the journal.
    number: u64,
    journal: Option<Journal>,
    /// The last write failed, and was told.
    is_failing: bool,
    /// Something holds that the file does not say.
    is_in_use: bool,
    /// What holds beside the configuration.
    beside: Beside,
}

#[derive(Debug)]
struct Journal {
    file: File,
    bytes: u64,
    /// There is something that the disk was not told to keep.
    is_dirty: bool,
}

#[derive(Deserialize)]
struct Snapshot {
    /// The number of its journal.
    journal: u64,
    /// What the file said.
    file: Changeable,
    /// What held.
    held: Changeable,
    /// What held beside it.
    #[serde(default)]
    beside: Beside,
}

/// As [`Snapshot`], to be written.
#[derive(Serialize)]
struct SnapshotOf<'s> {
    journal: u64,
    file: ChangeableOf<'s>,
    held: ChangeableOf<'s>,
    #[serde(skip_serializing_if = "Beside::is_empty")]
    beside: &'s Beside,
}

/// As [`Changeable`].
#[derive(Serialize)]
struct ChangeableOf<'c> {
    services: &'c [Service],
    marks: &'c [MarkRule],
    timeouts: &'c Timeouts,
    ipvs: &'c Ipvs,
    settings: &'c Settings,
}

/// What was kept.
struct Held {
    /// What the file said.
    base: Changeable,
    held: Changeable,
    beside: Beside,
}

impl<'c> ChangeableOf<'c> {
    fn new(config: &'c Config) -> Self {
        Self {
            services: &config.services,
            marks: &config.marks,
            timeouts: &config.timeouts,
            ipvs: &config.ipvs,
            settings: &config.settings,
        }
    }
}

impl Kept {
    /// Reads what was kept in `directory`, if anything, and applies it over `config`, the file: where
    /// the file says what it said, what was changed at run time holds; where it says something else,
    /// it is as the file says, which is told. What cannot be read is told and set aside.
    #[must_use]
    pub fn read(directory: Option<&Path>, config: &Config) -> (Self, Wanted) {
        let mut kept = Self {
            directory: directory.map(Path::to_owned),
            number: 0,
            journal: None,
            is_failing: false,
            is_in_use: false,
            beside: Beside::default(),
        };
        let held = match kept.held(config) {
            Ok(held) => held,
            Err(cause) => {
                kept.set_aside(&cause);
                None
            }
        };
        let Some(Held { base, held, beside }) = held else {
            return (kept, Wanted::new(config.clone()));
        };
        kept.beside = beside;
        let Merged { state, overridden } = merge(&base, config, held);
        for sentence in overridden {
            warn!("{sentence}");
        }
        match Wanted::with(config.clone(), state) {
            Ok(wanted) => {
                kept.rewrite(config, wanted.config());
                if kept.is_in_use {
                    info!("what was changed at run time holds again");
                }
                (kept, wanted)
            }
            Err(fault) => {
                kept.set_aside(&format!("it does not go together with the file: {fault}"));
                (kept, Wanted::new(config.clone()))
            }
        }
    }

    /// What held; none when nothing was kept.
    fn held(&mut self, config: &Config) -> Result<Option<Held>, String> {
        let Some(directory) = &self.directory else {
            return Ok(None);
        };
        let text = match fs::read(directory.join(SNAPSHOT)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let snapshot: Snapshot = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
        self.number = snapshot.journal;
        let path = journal_path(directory, snapshot.journal);
        let (operations, beside) = read_journal(&path)?;
        let wanted = Wanted::with(config.clone(), snapshot.held);
        let mut wanted = wanted.map_err(|fault| fault.to_string())?;
        // They were checked when they were done.
        let planned = wanted.plan(&operations, Rules::Ipvs);
        wanted.put(planned.map_err(|fault| fault.to_string())?);
        Ok(Some(Held {
            base: snapshot.file,
            held: wanted.config().changeable(),
            beside: beside.unwrap_or(snapshot.beside),
        }))
    }

    /// What holds beside the configuration.
    pub(crate) fn beside(&self) -> &Beside {
        &self.beside
    }

    /// True when something was changed at run time that the file does not say.
    pub(crate) fn is_in_use(&self) -> bool {
        self.is_in_use
    }

    /// True when there is something to be kept.
    pub(crate) fn is_needed(&self) -> bool {
        self.is_in_use || !self.beside.is_empty()
    }

    fn set_aside(&self, cause: &str) {
        let Some(directory) = &self.directory else {
            return;
        };
        let (path, aside) = (
            directory.join(SNAPSHOT),
            directory.join("run-time.json.bad"),
        );
        let (shown, kept) = (path.display(), aside.display());
        match fs::rename(&path, &aside) {
            Ok(()) => error!("{shown}: {cause}; it is {kept} now, and the file alone holds"),
            Err(error) => error!("{shown}: {cause}; the file alone holds ({error})"),
        }
    }

    /// Notes `operations`, after which `now` holds; `file` is what the file says. That they cannot be
    /// kept is told in the log.
    pub(crate) fn note(&mut self, operations: &[Operation], file: &Config, now: &Config) {
        self.is_in_use = true;
        let result = match self.is_open() {
            true => self.append(&operations),
            false => self.write(file, now),
        };
        self.tell(result);
    }

    /// Notes what holds beside the configuration from now on; `file` and `now` as for
    /// [`note`](Self::note).
    pub(crate) fn note_beside(&mut self, beside: Beside, file: &Config, now: &Config) {
        if beside == self.beside {
            return;
        }
        self.beside = beside;
        let result = match self.is_open() {
            true => {
                let beside = std::mem::take(&mut self.beside);
                let result = self.append(&beside);
                self.beside = beside;
                result
            }
            false => self.write(file, now),
        };
        self.tell(result);
    }

    /// True when there is a journal with room.
    fn is_open(&self) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(|journal| journal.bytes < JOURNAL_MAX)
    }

    /// The file or what holds is another one as a whole.
    pub(crate) fn rewrite(&mut self, file: &Config, now: &Config) {
        let result = self.write(file, now);
        self.tell(result);
    }

    fn tell(&mut self, result: io::Result<()>) {
        let directory = self.directory.as_deref().unwrap_or(Path::new(""));
        match result {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                // What comes next has to stand in a new snapshot.
                self.journal = None;
                if !self.is_failing {
                    let shown = directory.display();
                    error!(
                        "{shown}: {error}; changes hold, and are not kept for the next start: \
                         make room there, or give another control.state_directory"
                    );
                }
                self.is_failing = true;
            }
        }
    }

    /// Adds operations, or what holds beside.
    fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        journal.file.write_all(&line)?;
        journal.bytes += line.len() as u64;
        journal.is_dirty = true;
        Ok(())
    }

    /// Writes a snapshot, or removes it when there is nothing that the file does not say.
    fn write(&mut self, file: &Config, now: &Config) -> io::Result<()> {
        let is_same = file.timeouts == now.timeouts
            && file.ipvs == now.ipvs
            && file.settings == now.settings
            && file.marks == now.marks
            && file.services == now.services;
        self.is_in_use = !is_same;
        let Some(directory) = self.directory.clone() else {
            return Ok(());
        };
        let old = journal_path(&directory, self.number);
        let path = directory.join(SNAPSHOT);
        if is_same && self.beside.is_empty() {
            self.journal = None;
            remove(&path)?;
            return remove(&old);
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        self.number += 1;
        let journal = journal_path(&directory, self.number);
        // One of a snapshot that was never finished.
        remove(&journal)?;
        let snapshot = SnapshotOf {
            journal: self.number,
            file: ChangeableOf::new(file),
            held: ChangeableOf::new(now),
            beside: &self.beside,
        };
        let beside = directory.join("run-time.json.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).mode(0o600);
        let written = options.clone().truncate(true).open(&beside)?;
        let mut writer = BufWriter::new(written);
        serde_json::to_writer(&mut writer, &snapshot)?;
        writer
            .into_inner()
            .map_err(|error| error.into_error())?
            .sync_all()?;
        let opened = options.append(true).open(&journal)?;
        fs::rename(&beside, &path)?;
        File::open(&directory)?.sync_all()?;
        self.journal = Some(Journal {
            file: opened,
            bytes: 0,
            is_dirty: false,
        });
        remove(&old)
    }

    /// Has the disk keep what was noted, without waiting for it.
    pub(crate) fn sync(&mut self) {
        let journal = self.journal.as_mut().filter(|journal| journal.is_dirty);
        let Some(journal) = journal else {
            return;
        };
        journal.is_dirty = false;
        let Ok(file) = journal.file.try_clone() else {
            return;
        };
        let syncing = std::thread::Builder::new().name("sync".to_owned());
        let syncing = syncing.spawn(move || {
            if let Err(error) = file.sync_data() {
                warn!("what was changed at run time is not on the disk yet: {error}");
            }
        });
        // Where there is no thread to be had, the system writes it in its own time.
        drop(syncing);
    }
}

fn journal_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("run-time.{number}.journal"))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The operations of a journal, and the last that it says of what holds beside. Its last line may be
/// unfinished: that change was never answered.
fn read_journal(path: &Path) -> Result<(Vec<Operation>, Option<Beside>), String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), None)),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let (mut operations, mut beside) = (Vec::new(), None);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let Some(line) = line.strip_suffix('\n') else {
            warn!("{}:{number}: unfinished, left out", path.display());
            break;
        };
        let wrong = |error| format!("{}:{number}: {error}", path.display());
        match line.starts_with('{') {
            true => beside = Some(serde_json::from_str(line).map_err(wrong)?),
            false => {
                let of_line: Vec<Operation> = serde_json::from_str(line).map_err(wrong)?;
                operations.extend(of_line);
            }
        }
    }
    Ok((operations, beside))
}
