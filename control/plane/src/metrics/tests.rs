use std::io::Write as _;
use std::process::{Command, Stdio};

use weir_core::counters::DropReason;

use crate::state::State;
use crate::testing::{active, fullnat_service, service, state, worker};

fn page(state: &State) -> String {
    let mut page = String::new();
    state.metrics().page(|piece| {
        page += &piece;
        true
    });
    page
}

#[test]
fn promtool_finds_nothing_to_say() {
    let text = page(&state(
        &(service("rr", &[(1, 1), (2, 0)]) + &fullnat_service(81, 10)),
        vec![worker(0), worker(1)],
    ));
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = promtool.expect("this test needs promtool (apt-get install prometheus)");
    let mut stdin = promtool.stdin.take().expect("it is piped");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.trim().is_empty(),
        "{said}\n{text}"
    );
}

#[test]
fn what_workers_count_is_summed_and_labelled() {
    let workers = [worker(0), worker(1)];
    let state = state(&service("rr", &[(1, 1), (2, 0)]), workers.to_vec());
    for worker in &workers {
        worker.counters().servers[0].connections.add(3);
        worker.counters().servers[0].bytes_out.add(100);
        worker.counters().count_drop(DropReason::NoFlow);
    }
    let text = page(&state);
    let service = "protocol=\"tcp\",address=\"192.0.2.100\",port=\"80\",service=\"web\"";
    let server = "server_address=\"10.0.0.1\",server_port=\"80\",server=\"\",method=\"nat\"";
    let drained = server.replace("10.0.0.1", "10.0.0.2");
    for line in [
        format!("weir_service_connections_total{{{service}}} 6"),
        format!("weir_service_bytes_total{{{service},direction=\"out\"}} 200"),
        format!("weir_server_connections_total{{{service},{server}}} 6"),
        format!("weir_server_up{{{service},{server}}} 1"),
        format!("weir_server_up{{{service},{drained}}} 0"),
        "weir_dropped_packets_total{reason=\"no_flow\"} 2".to_owned(),
        "weir_dropped_packets_total{reason=\"truncated\"} 0".to_owned(),
        "weir_flow_table_capacity{worker=\"1\",family=\"ipv4\"} 768".to_owned(),
        "weir_port_receive_packets_total{port=\"wan\"} 7".to_owned(),
        "weir_config_last_reload_successful 1".to_owned(),
    ] {
        assert!(
            text.lines().any(|is| is == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn the_busiest_of_two_workers_is_told_against_the_mean() {
    let workers = [worker(0), worker(1)];
    let mut state = state("", workers.to_vec());
    let ratio = |text: &str| -> f64 {
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix("weir_workers_imbalance_ratio "));
        line.expect("it is told").parse().expect("a number")
    };
    assert_eq!(ratio(&page(&state)), 1.0, "nothing came");
    workers[0].counters().ports[0].packets_received.add(100);
    workers[0].counters().ports[1].packets_received.add(100);
    workers[1].counters().ports[0].packets_received.add(50);
    workers[1].counters().taken_over.add(50);
    state.estimate(2.0);
    let text = page(&state);
    assert_eq!(ratio(&text), 200.0 * 2.0 / 300.0);
    for line in [
        "weir_worker_received_packets_total{worker=\"0\"} 200",
        "weir_worker_received_packets_total{worker=\"1\"} 50",
        "weir_worker_taken_over_packets_total{worker=\"1\"} 50",
    ] {
        assert!(text.lines().any(|is| is == line), "{line}");
    }
    // What came before the last look no longer counts.
    workers[1].counters().ports[0].packets_received.add(10);
    state.estimate(2.0);
    assert_eq!(ratio(&page(&state)), 2.0);
}

#[test]
fn the_use_of_local_ports_is_told_for_each_worker() {
    let workers = [worker(0), worker(1)];
    let state = state(&fullnat_service(80, 10), workers.to_vec());
    workers[1].counters().loads[0].add(active(4));
    let text = page(&state);
    for (worker, ratio) in [(0, "0"), (1, "0.8")] {
        let end = format!("method=\"fullnat\",worker=\"{worker}\"}} {ratio}");
        let is_it = |line: &str| {
            line.starts_with("weir_server_local_ports_used_ratio{") && line.ends_with(&end)
        };
        assert!(text.lines().any(is_it), "{end} is not in\n{text}");
    }
}

/// The rules that alert name no metric that the page does not have.
#[test]
fn the_alerts_name_only_metrics_that_exist() {
    let text = page(&state(&fullnat_service(80, 10), vec![worker(0)]));
    let rules = include_str!("../../../../conf/alerts.yml");
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut seen = 0;
    for metric in words.filter(|word| word.starts_with("weir_")) {
        assert!(text.contains(&format!("# TYPE {metric} ")), "{metric}");
        seen += 1;
    }
    assert!(seen > 3, "the rules name metrics");
}
