//! Settings of the kernel's director in scripts and in sysctl.conf, and those of its FTP module.

use crate::draft::{Draft, Setting};
use crate::line::Line;
use crate::value::has;

/// Those that are switches.
const SWITCHES: &str =
    "expire_nodest_conn expire_quiescent_template sloppy_tcp sloppy_sctp nat_icmp_send
    schedule_icmp cache_bypass run_estimation snat_reroute ignore_tunneled pmtu_disc";
/// Those that are numbers.
const NUMBERS: &str =
    "conn_reuse_mode secure_tcp drop_entry drop_packet am_droprate amemthresh lblc_expiration
    lblcr_expiration";
/// Those of connection synchronisation.
const SYNC: &str =
    "sync_version sync_ports sync_persist_mode sync_qlen_max sync_sock_size sync_threshold
    sync_refresh_period sync_retries backup_only";
/// Those that concern the kernel alone.
const KERNEL: &str = "conntrack debug_level est_cpulist est_nice conn_lfactor svc_lfactor";

/// Takes a line that sets something of the kernel's director. False: it is no such line.
pub(crate) fn take(draft: &mut Draft, line: &Line) -> bool {
    if let Some(ports) = ftp_ports(line.text()) {
        let list = ports.replace(',', ", ");
        add(draft, line, "ftp_ports", format!("[{list}]"));
        return true;
    }
    let Some((name, value)) = assignment(line.text()) else {
        return false;
    };
    let number = value.parse::<u32>().ok();
    match (name, number) {
        (name, Some(number)) if has(SWITCHES, name) => {
            add(draft, line, name, (number != 0).to_string());
        }
        (name, Some(number)) if has(NUMBERS, name) => add(draft, line, name, number.to_string()),
        (name, _) if has(SYNC, name) => draft.remarks.not_carried(
            line,
            "Weir does not take part in connection synchronisation",
        ),
        (name, _) if has(KERNEL, name) => draft
            .remarks
            .not_carried(line, "it concerns the kernel's way of doing it"),
        (name, None) if has(SWITCHES, name) || has(NUMBERS, name) => {
            draft.remarks.refused(line, "its value is no number");
        }
        _ => draft
            .remarks
            .refused(line, "the kernel's director has no such setting"),
    }
    true
}

fn add(draft: &mut Draft, line: &Line, name: &str, value: String) {
    // The last of several holds.
    draft.settings.retain(|setting| setting.name != name);
    draft.settings.push(Setting {
        line: line.clone(),
        name: name.to_owned(),
        value,
    });
}

/// `modprobe ip_vs_ftp ports=21,2121`, `options ip_vs_ftp ports=21,2121`
fn ftp_ports(text: &str) -> Option<&str> {
    let (before, ports) = text.split_once("ports=")?;
    let ports = ports.split_whitespace().next()?;
    let is_list = ports.split(',').all(|port| port.parse::<u16>().is_ok());
    let mut words = before.split_whitespace();
    (is_list && words.any(|word| word == "ip_vs_ftp")).then_some(ports)
}

/// `sysctl -w net.ipv4.vs.NAME=VALUE`, `net.ipv4.vs.NAME = VALUE`,
/// `echo VALUE > /proc/sys/net/ipv4/vs/NAME`
fn assignment(text: &str) -> Option<(&str, &str)> {
    if let Some((_, name)) = text.split_once("/proc/sys/net/ipv4/vs/") {
        let mut words = text.split_whitespace();
        let value = (words.next() == Some("echo")).then(|| words.next())??;
        let name = name.split_whitespace().next()?;
        return Some((name, value.trim_matches(['"', '\''])));
    }
    let at = text.find("net.ipv4.vs.").or(text.find("net/ipv4/vs/"))?;
    let before = text[..at].trim();
    let is_command = before.is_empty() || before.split_whitespace().next()?.ends_with("sysctl");
    let (name, value) = text[at + "net.ipv4.vs.".len()..].split_once('=')?;
    is_command.then_some((name.trim(), value.trim().trim_matches(['"', '\''])))
}
