//! The texts of `/proc/net/ip_vs` and its neighbours: a client writes a name and a newline and reads
//! the text until its end. A very long one is made a piece at a time, so neither control nor memory has
//! much of it at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use weir_core::persist::TemplateView;
use weir_core::service::Services;
use weir_core::time::TICKS_PER_SECOND;
use weir_ipvs::proc::{self, Connection};
use weir_ipvs::{Changes as _, ServiceKey, Table as _};
use weir_model::PersistenceEngine;
use weir_worker::Handle;
use weir_worker::handle::{FlowDump, FlowFilter, FlowRecord};

use super::table::IpvsTable;
use super::words::protocol_number;
use crate::compile::model_protocol;
use crate::door::{Door, Stopping};

/// Services in a piece of `ip_vs`.
const PIECE: usize = 256;
/// So many servers are told of at one moment: some milliseconds of control's. What is longer is told in pieces,
/// between which services may change.
const AT_ONCE: usize = 16 * 1024;
/// Buckets of templates that are looked into at once.
const BUCKETS: usize = 1024;
/// Bytes that are written at once.
const WRITTEN: usize = 64 * 1024;
/// How long a client may be silent, or leave text unread.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for flows that have arrived.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a worker may be silent.
const WORKERS_PATIENCE: Duration = Duration::from_secs(10);

/// Reads which text is wanted and writes it. Of an unknown one there is nothing.
pub(super) async fn write(stream: UnixStream, door: &Door) -> io::Result<()> {
    let mut text = Text {
        stream,
        waiting: String::new(),
    };
    let name = text.read_name().await?;
    let stopping = |_: Stopping| io::Error::from(io::ErrorKind::ConnectionAborted);
    match name.as_str() {
        "ip_vs" => services(&mut text, door).await?,
        "ip_vs_conn" => {
            connections(&mut text, door, proc::CONN_HEAD, Connection::conn_line).await?
        }
        "ip_vs_conn_sync" => {
            let line = Connection::conn_sync_line;
            connections(&mut text, door, proc::CONN_SYNC_HEAD, line).await?;
        }
        "ip_vs_stats" => {
            let stats = door.ask(|state| IpvsTable(state).all_stats());
            let (all, _) = stats.await.map_err(stopping)?;
            text.push(&proc::ip_vs_stats(&all)).await?;
        }
        "ip_vs_stats_percpu" => {
            let stats = door.ask(|state| IpvsTable(state).all_stats());
            let (all, workers) = stats.await.map_err(stopping)?;
            text.push(&proc::ip_vs_stats_percpu(&workers, &all)).await?;
        }
        _ => {}
    }
    text.flush().await
}

/// Text on its way.
struct Text {
    stream: UnixStream,
    waiting: String,
}

impl Text {
    async fn read_name(&mut self) -> io::Result<String> {
        const LONGEST: usize = 64;
        let mut name = Vec::new();
        let reading = async {
            while name.len() < LONGEST {
                match self.stream.read_u8().await? {
                    b'\n' => break,
                    byte => name.push(byte),
                }
            }
            io::Result::Ok(())
        };
        timeout(PATIENCE, reading).await??;
        Ok(String::from_utf8_lossy(&name).into_owned())
    }

    async fn push(&mut self, text: &str) -> io::Result<()> {
        self.waiting += text;
        match self.waiting.len() >= WRITTEN {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let writing = self.stream.write_all(self.waiting.as_bytes());
        timeout(PATIENCE, writing).await??;
        self.waiting.clear();
        Ok(())
    }
}

async fn services(text: &mut Text, door: &Door) -> io::Result<()> {
    let stopping = |_: Stopping| io::Error::from(io::ErrorKind::ConnectionAborted);
    let head = door.ask(|state| {
        let services = state.config().services.iter();
        let servers: usize = services.clone().map(|service| service.servers.len()).sum();
        let keys: Vec<_> = services.map(|s| super::words::told_key(&s.key)).collect();
        let table = IpvsTable(state);
        let head = proc::ip_vs_head(table.size());
        match servers <= AT_ONCE {
            true => (head + &piece(&table, &keys), Vec::new()),
            false => (head, keys),
        }
    });
    let (head, keys) = head.await.map_err(stopping)?;
    text.push(&head).await?;
    for keys in keys.chunks(PIECE) {
        let keys = keys.to_vec();
        let piece = door.ask(move |state| piece(&IpvsTable(state), &keys));
        text.push(&piece.await.map_err(stopping)?).await?;
    }
    Ok(())
}

/// Those of these services that are there, with their servers.
fn piece(table: &IpvsTable<'_>, keys: &[ServiceKey]) -> String {
    let services = keys.iter().filter_map(|key| table.service(key));
    services
        .map(|service| proc::service(&service, &table.servers(&service.key)))
        .collect()
}

async fn connections(
    text: &mut Text,
    door: &Door,
    head: &str,
    line: impl Fn(&Connection) -> String,
) -> io::Result<()> {
    let stopping = |_: Stopping| io::Error::from(io::ErrorKind::ConnectionAborted);
    let held = door.ask(|state| {
        let templates = Arc::clone(state.templates());
        (
            state.workers().to_vec(),
            templates,
            state.compiler.services(),
        )
    });
    let (workers, templates, services) = held.await.map_err(stopping)?;
    text.push(head).await?;
    if let Some(worker) = workers.first() {
        let now = worker.now();
        for bucket in 0..templates.buckets() {
            if bucket % BUCKETS == 0 {
                tokio::task::yield_now().await;
            }
            let mut lines = String::new();
            templates.visit(now, bucket, |seen, name| {
                lines.extend(template(seen, name, &services).map(|template| line(&template)));
            });
            if !lines.is_empty() {
                text.push(&lines).await?;
            }
        }
    }
    for worker in workers {
        let Some(listing) = Listing::begin(&worker) else {
            // Too many are under way; what is told so far is not all.
            return Err(io::ErrorKind::ResourceBusy.into());
        };
        let mut silent = Duration::ZERO;
        loop {
            let is_done = listing.0.is_done();
            let mut has_come = false;
            while let Some(record) = listing.0.take() {
                has_come = true;
                text.push(&line(&connection(&record))).await?;
            }
            if is_done {
                break;
            }
            silent = if has_come {
                Duration::ZERO
            } else {
                silent + PAUSE
            };
            if silent > WORKERS_PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// A worker's listing, given up when its client hung up.
struct Listing(Arc<FlowDump>);

impl Listing {
    fn begin(worker: &Handle) -> Option<Self> {
        let all = FlowFilter::default();
        worker.dump_flows(all, usize::MAX).map(Self)
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

fn template(seen: &TemplateView, name: &[u8], services: &Services) -> Option<Connection> {
    let server = services.server(seen.server)?;
    let engine = (!name.is_empty()).then(|| {
        let engine = PersistenceEngine::Sip.name().to_owned();
        (engine, String::from_utf8_lossy(name).into_owned())
    });
    Some(Connection {
        protocol: u16::from(seen.protocol),
        client: (seen.client.ip(), 0),
        virtual_end: (seen.virt.ip(), seen.port),
        server: (server.addr.ip(), seen.dest_port),
        state: seen.state(),
        expires: seen.ticks_left.div_ceil(TICKS_PER_SECOND),
        is_synchronised: false,
        engine,
    })
}

fn connection(record: &FlowRecord) -> Connection {
    let request = &record.request;
    Connection {
        protocol: protocol_number(model_protocol(request.protocol)),
        client: (request.src.ip(), request.src_port),
        virtual_end: (request.dst.ip(), request.dst_port),
        server: (record.dest.ip(), record.dest_port),
        state: record.state,
        expires: record.seconds_left,
        is_synchronised: false,
        engine: None,
    }
}
