//! Listing flows: every worker tells its own a few at a time, between bursts.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use weir_core::service::{Protocol, ServiceKey};
use weir_model::api::{FlowFilter, FlowState, FlowView, Flows};
use weir_wire::Addr;
use weir_worker::Handle;
use weir_worker::handle::{self, FlowDump, FlowRecord};

use crate::compile::{model_method, model_protocol, protocol};

/// How long a listing may take. A worker under load visits its table in seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks for what has arrived.
const PAUSE: Duration = Duration::from_millis(1);

/// A worker has too many listings under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// A listing that tells the worker when nobody listens any more, such as when the client hung up.
struct Listening {
    worker: u16,
    dump: Arc<FlowDump>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.dump.give_up();
    }
}

/// The flows of all `workers` that match, `limit` at most.
pub(super) async fn list(
    workers: &[Handle],
    filter: &FlowFilter,
    limit: usize,
) -> Result<Flows, Busy> {
    // One more than wanted tells whether there are more.
    let ask = |worker: &Handle, filter| worker.dump_flows(filter, limit + 1);
    gather(workers, filter, limit, PATIENCE, ask).await
}

/// Ends the flows of all `workers` that match, each worker `limit` at most. Returns them.
pub(super) async fn end(
    workers: &[Handle],
    filter: &FlowFilter,
    limit: usize,
) -> Result<Flows, Busy> {
    let ask = |worker: &Handle, filter| worker.end_flows(filter, limit);
    let limit = limit.saturating_mul(workers.len());
    gather(workers, filter, limit, PATIENCE, ask).await
}

/// What the workers tell when they are asked by `ask`, as far as they do within `patience`.
pub(super) async fn gather(
    workers: &[Handle],
    filter: &FlowFilter,
    limit: usize,
    patience: Duration,
    ask: impl Fn(&Handle, handle::FlowFilter) -> Option<Arc<FlowDump>>,
) -> Result<Flows, Busy> {
    let mut listings = Vec::new();
    for filter in worker_filters(filter) {
        for worker in workers {
            let dump = ask(worker, filter).ok_or(Busy)?;
            let worker = worker.id().0;
            listings.push(Listening { worker, dump });
        }
    }
    let (mut flows, mut is_cut) = (Vec::new(), false);
    let deadline = Instant::now() + patience;
    for listing in &listings {
        while flows.len() <= limit {
            // Asked first: what arrived before the end is then in the ring.
            let is_done = listing.dump.is_done();
            while let Some(record) = listing.dump.take() {
                flows.push(view(&record, listing.worker));
            }
            if is_done {
                break;
            }
            if Instant::now() > deadline {
                is_cut = true;
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    let truncated = is_cut || flows.len() > limit;
    flows.truncate(limit);
    Ok(Flows { flows, truncated })
}

/// The same in the workers' words. They know a service by its protocol too, so a filter that names
/// a service and no protocol is one for each.
fn worker_filters(filter: &FlowFilter) -> Vec<handle::FlowFilter> {
    let base = handle::FlowFilter {
        client: filter.client.map(Addr::from),
        service: None,
        server: filter.server.map(|server| Addr::from(server.address)),
        server_port: filter.server.and_then(|server| server.port),
        state: filter.state.map(FlowState::name),
        protocol: filter.protocol.map(protocol),
    };
    let Some(service) = filter.service else {
        return vec![base];
    };
    let protocols = match base.protocol {
        Some(protocol) => vec![protocol],
        None => vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp],
    };
    let of = |protocol| handle::FlowFilter {
        service: Some(ServiceKey {
            protocol,
            addr: Addr::from(service.ip()),
            port: service.port(),
            mark: 0,
        }),
        ..base
    };
    protocols.into_iter().map(of).collect()
}

fn view(record: &FlowRecord, worker: u16) -> FlowView {
    let request = record.request;
    FlowView {
        protocol: model_protocol(request.protocol),
        client: (request.src.ip(), request.src_port).into(),
        vip: (request.dst.ip(), request.dst_port).into(),
        local: record.local.map(|(addr, port)| (addr.ip(), port).into()),
        server: (record.dest.ip(), record.dest_port).into(),
        state: record.state.parse().unwrap_or(FlowState::None),
        expires_seconds: record.seconds_left,
        method: model_method(record.method),
        worker,
        template: None,
    }
}
