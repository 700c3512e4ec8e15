//! Persistence templates as people see them: lines among the flows, as ipvsadm lists them.

use std::net::SocketAddr;

use weir_core::persist::{TemplateView, Templates};
use weir_core::service::{Protocol, Services};
use weir_core::time::{TICKS_PER_SECOND, Tick};
use weir_model::PersistenceEngine;
use weir_model::api::{FlowFilter, FlowState, FlowView, Flows, TemplateOf};
use weir_wire::Family;

use crate::compile::{model_method, model_protocol};

/// Adds the templates that match to `flows`, as long as there are no more than `limit` lines.
pub(crate) fn list(
    templates: &Templates,
    services: &Services,
    now: Tick,
    filter: &FlowFilter,
    limit: usize,
    flows: &mut Flows,
) {
    for at in 0..templates.buckets() {
        if flows.truncated || templates.is_empty() {
            return;
        }
        templates.visit(now, at, |template, name| {
            let Some(view) = view(template, name, services) else {
                return;
            };
            match matches(filter, &view) {
                true if flows.flows.len() < limit => flows.flows.push(view),
                wanted => flows.truncated |= wanted,
            }
        });
    }
}

fn view(template: &TemplateView, name: &[u8], services: &Services) -> Option<FlowView> {
    let server = services.server(template.server)?;
    let protocol = Protocol::from_number(template.protocol);
    let mark = match template.virt.family() {
        _ if protocol.is_some() => None,
        Family::V4 => Some(template.virt.v4_bits()),
        Family::V6 => Some((template.virt.0 >> 96) as u32),
    };
    Some(FlowView {
        protocol: model_protocol(protocol.unwrap_or(Protocol::Tcp)),
        client: SocketAddr::new(template.client.ip(), 0),
        vip: SocketAddr::new(template.virt.ip(), template.port),
        local: None,
        server: SocketAddr::new(server.addr.ip(), template.dest_port),
        state: match template.is_assured {
            true => FlowState::Assured,
            false => FlowState::None,
        },
        expires_seconds: template.ticks_left.div_ceil(TICKS_PER_SECOND),
        method: model_method(server.method),
        worker: 0,
        template: Some(TemplateOf {
            flows: template.children,
            mark,
            engine: (!name.is_empty()).then_some(PersistenceEngine::Sip),
            engine_data: (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned()),
        }),
    })
}

fn matches(filter: &FlowFilter, view: &FlowView) -> bool {
    let is_mark = view.template.as_ref().is_some_and(|t| t.mark.is_some());
    let server = filter.server.as_ref();
    filter
        .client
        .is_none_or(|client| client == view.client.ip())
        && filter.service.is_none_or(|service| service == view.vip)
        && server.is_none_or(|s| s.address == view.server.ip())
        && server
            .and_then(|s| s.port)
            .is_none_or(|port| port == view.server.port())
        && filter.state.is_none_or(|state| state == view.state)
        && filter
            .protocol
            .is_none_or(|protocol| protocol == view.protocol && !is_mark)
}
