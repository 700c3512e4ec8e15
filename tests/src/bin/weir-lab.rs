//! `weir-lab`: the demo, and a lab to play with. Called by `./x demo` and `./x lab`.

#![allow(clippy::print_stdout, reason = "a program for people to watch")]

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use weir_tests::client::tally;
use weir_tests::lab::KEPT;
use weir_tests::{Config, Director, Family, Lab, Method, Service};

const USAGE: &str = "usage: weir-lab demo [--keep] | up | down | shell NAME | servers
  demo     real HTTP through every method on a small network on this machine
  up       the same network with a running director, kept until down
  shell    a shell in client, director, router, nat1-nat3 or dr1-dr3
  servers  builds the network and asks every server directly, without a director";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["demo"] => Lab::new().and_then(|lab| demo(&lab).map(drop)),
        ["demo", "--keep"] => keep(demo),
        ["up"] => keep(bring_up),
        ["down"] => Lab::remove_kept(),
        ["shell", name] => shell(name),
        ["servers"] => Lab::new().and_then(|lab| ask_servers(&lab)),
        _ => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("weir-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Every method in both families, each with three servers.
fn all_services(lab: &Lab) -> Result<Config> {
    let mut services = Vec::new();
    for method in Method::ALL {
        let servers = lab.servers(method)?;
        for family in Family::ALL {
            let service = Service::http(method, family, servers);
            services.push(match (method, family) {
                (Method::Dr, Family::V4) => service.weighted(&[3, 1, 1]),
                _ => service,
            });
        }
    }
    Ok(Config::with(services))
}

fn bring_up(lab: &Lab) -> Result<Director<'_>> {
    let start = Instant::now();
    println!("- client, router, 3 servers each of NAT, DR and FullNAT (nginx, a namespace each)");
    println!("- booting user-mode Linux for the 3 TUN servers (the kernel's own tunl0)");
    let config = all_services(lab)?;
    println!("- starting weird on net_tap between two bridges");
    let director = lab.director(&config)?;
    println!("  up after {:.1} s", start.elapsed().as_secs_f32());
    Ok(director)
}

fn demo(lab: &Lab) -> Result<Director<'_>> {
    let director = bring_up(lab)?;
    println!(
        "\n12 HTTP requests by curl from the client to each virtual address; who answered, in order:\n"
    );
    for method in Method::ALL {
        for family in Family::ALL {
            let vip = method.vip(family);
            let names = lab.client.names(vip, 12)?;
            let share: Vec<String> = tally(&names)
                .iter()
                .map(|(name, count)| format!("{name} {count}x"))
                .collect();
            println!("{:>7}  {:<16} {}", method.name(), vip, names.join(" "));
            println!("{:26}{}", "", share.join(", "));
        }
    }
    println!("\n100 MB through each method:\n");
    for method in Method::ALL {
        let start = Instant::now();
        lab.client.body_digest(method.vip(Family::V4))?;
        let rate = weir_tests::BODY_LEN as f32 * 8e-6 / start.elapsed().as_secs_f32();
        println!("{:>7}  {rate:.0} Mbit/s", method.name());
    }
    println!("\n$ weir services\n{}", director.weir(&["services"])?);
    println!("$ weir drops\n{}", director.weir(&["drops"])?);
    println!(
        "$ curl http://{}/metrics | grep ...",
        weir_tests::config::METRICS
    );
    for line in director.metrics()?.lines().filter(|line| is_shown(line)) {
        println!("{line}");
    }
    Ok(director)
}

/// A few metrics say enough in a demo.
fn is_shown(line: &str) -> bool {
    let names = [
        "weir_build_info",
        "weir_server_connections_total",
        "weir_service_connections_total",
        "weir_flow_table_",
    ];
    names.iter().any(|name| line.starts_with(name))
}

fn keep(work: impl Fn(&Lab) -> Result<Director<'_>>) -> Result<()> {
    let lab = Lab::keep()?;
    match work(&lab) {
        Ok(director) => director.keep(),
        Err(error) => {
            Lab::remove_kept()?;
            return Err(error);
        }
    }
    let vip = Method::Nat.vip(Family::V4);
    let toml = lab.config_path();
    println!(
        "
The network stays up. Try:
  ./x lab shell client      then: curl http://{vip}/        (or ping, tcpdump -ni wan)
  ./x lab shell director    then: weir services, weir flows, ip addr, tcpdump -ni weir-wan
                            edit {} and: weir reload
  ./x lab down              removes it",
        toml.display()
    );
    Ok(())
}

/// A shell in a namespace of the kept lab, where `weir` asks the lab's director.
fn shell(name: &str) -> Result<()> {
    if !Lab::is_kept()? {
        bail!("no lab is up; `./x lab up` makes one");
    }
    let own_dir = env::current_exe()?;
    let weir = own_dir.with_file_name("weir");
    let run_dir = env::temp_dir().join(KEPT);
    let bin = run_dir.join("bin");
    fs::create_dir_all(&bin)?;
    fs::write(
        bin.join("weir"),
        format!(
            "#!/bin/sh\nexec {} --socket {} \"$@\"\n",
            weir.display(),
            run_dir.join("weir.sock").display()
        ),
    )?;
    fs::set_permissions(bin.join("weir"), fs::Permissions::from_mode(0o755))?;
    let path = env::var("PATH").unwrap_or_default();
    let error = Command::new("ip")
        .args(["netns", "exec", &format!("{KEPT}-{name}")])
        .arg(env::var_os("SHELL").unwrap_or("/bin/sh".into()))
        .env("PATH", format!("{}:{path}", bin.display()))
        .exec();
    Err(error).context("ip netns exec")
}

/// The network proves itself: every server answers with its name when asked directly.
fn ask_servers(lab: &Lab) -> Result<()> {
    for method in Method::ALL {
        let start = Instant::now();
        for server in lab.servers(method)? {
            println!(
                "{} answers on {} and {}",
                server.name,
                server.address(Family::V4),
                server.address(Family::V6)
            );
        }
        println!("  after {:.1} s", start.elapsed().as_secs_f32());
    }
    Ok(())
}
