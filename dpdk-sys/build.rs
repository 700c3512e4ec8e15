//! Finds DPDK by pkg-config, makes the declarations with bindgen and compiles the shim.
//!
//! pkg-config is called directly: the flags that DPDK's static inlines need to compile
//! (`-include rte_config.h`, `-march=…`) are ones that the `pkg-config` crate does not hand on.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest DPDK whose interface the wrappers are written for (Debian 12).
const OLDEST_VERSION: &str = "22.11";

/// What the wrappers call. `pkg-config --libs` names every library of DPDK; drivers are none of
/// them: EAL loads those when it starts, from its plug-in directory and by `-d`.
const LIBRARIES: [&str; 4] = ["rte_eal", "rte_mempool", "rte_mbuf", "rte_ethdev"];

const FUNCTIONS: [&str; 13] = [
    "rte_strerror|rte_version",
    "rte_eal_(init|cleanup|get_runtime_dir)",
    "rte_thread_(un)?register",
    "rte_dev_(probe|remove|name)",
    "rte_mempool_(free|avail_count)",
    "rte_pktmbuf_pool_create",
    "rte_eth_find_next|rte_eth_dev_(get_name_by_port|socket_id|adjust_nb_rx_tx_desc)",
    "rte_eth_dev_(info_get|configure|start|stop|close|set_mtu|default_mac_addr_set)",
    "rte_eth_(rx|tx)_queue_setup",
    "rte_eth_dev_rss_(hash_update|hash_conf_get|reta_update|reta_query)",
    "rte_eth_(promiscuous|allmulticast)_(enable|get)",
    "rte_eth_(macaddr|stats)_get",
    "shim_.*",
];

fn main() {
    println!("cargo:rerun-if-changed=src/wrapper.h");
    println!("cargo:rerun-if-changed=src/shim.c");
    for variable in ["PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let compile_flags = match find_dpdk() {
        Ok(flags) => flags,
        Err(why) => {
            println!("cargo:error={why}");
            std::process::exit(1);
        }
    };
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    declare(&compile_flags, &out);
    compile_shim(&compile_flags);
}

/// The compiler flags of DPDK; tells cargo what to link.
fn find_dpdk() -> Result<Vec<String>, String> {
    let at_least = format!("--atleast-version={OLDEST_VERSION}");
    if pkg_config(&["--exists", "libdpdk"]).is_err() {
        return Err(
            "DPDK's headers were not found (pkg-config knows no libdpdk); \
             install them with `apt-get install libdpdk-dev pkg-config`"
                .to_string(),
        );
    }
    if pkg_config(&[&at_least, "libdpdk"]).is_err() {
        let found = pkg_config(&["--modversion", "libdpdk"]).unwrap_or_default();
        return Err(format!(
            "DPDK {} is installed, {OLDEST_VERSION} or later is needed; \
             install a newer libdpdk-dev or point PKG_CONFIG_PATH at one",
            found.trim()
        ));
    }
    for path in pkg_config(&["--libs-only-L", "libdpdk"])?.split_whitespace() {
        println!(
            "cargo:rustc-link-search=native={}",
            path.trim_start_matches("-L")
        );
    }
    for library in LIBRARIES {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
    let flags = pkg_config(&["--cflags", "libdpdk"])?;
    Ok(flags.split_whitespace().map(str::to_string).collect())
}

/// What pkg-config prints when called with `arguments`.
fn pkg_config(arguments: &[&str]) -> Result<String, String> {
    let program = std::env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_string());
    let output = Command::new(&program)
        .args(arguments)
        .output()
        .map_err(|e| format!("{program}: {e}; install it with `apt-get install pkg-config`"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn declare(compile_flags: &[String], out: &Path) {
    let mut builder = bindgen::Builder::default()
        .header("src/wrapper.h")
        .clang_args(compile_flags)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .allowlist_var("SHIM_.*|RTE_(ETHER_(HDR|CRC)_LEN|LOG_.*)")
        .allowlist_type("rte_eth_(conf|dev_info|rxconf|txconf|stats)|rte_ether_addr|shim_.*")
        // Their fields move between releases: they are reached by the offsets in wrapper.h, so
        // bindgen need not (and with their markers and bit fields cannot well) lay them out.
        .opaque_type("rte_mbuf|rte_mempool|rte_device|rte_eth_link")
        // The generic-flow items of rte_flow.h pack bit fields in ways that Rust cannot say.
        .opaque_type("rte_flow.*|rte_gtp.*|rte_l2tpv2.*|rte_ipv6.*")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .derive_default(true)
        .layout_tests(false)
        .generate_comments(false);
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    builder
        .generate()
        .expect("bindgen reads DPDK's headers; its messages above say where it stopped")
        .write_to_file(out.join("dpdk.rs"))
        .expect("OUT_DIR is writable");
}

fn compile_shim(compile_flags: &[String]) {
    let mut build = cc::Build::new();
    build
        .file("src/shim.c")
        .define("ALLOW_EXPERIMENTAL_API", None);
    for flag in compile_flags {
        build.flag(flag);
    }
    // Optimised even in debug builds: these are the inlines of the packet path.
    build.opt_level(3).warnings(true).compile("dpdk_shim");
}
