//! What keepalived 2.2 knows, and where. A word that is none of these is reported by `keepalived -t`.

use crate::value::has;

/// What a word at the top of the file begins.
pub(super) enum Top {
    /// VRRP; the words of its block, if they are known here.
    Vrrp(&'static str),
    /// keepalived as a process.
    Process,
}

pub(super) fn at_top(word: &str) -> Option<Top> {
    let top = match word {
        "vrrp_sync_group" => Top::Vrrp(SYNC_GROUP),
        "vrrp_script" => Top::Vrrp(SCRIPT),
        "vrrp_track_file"
        | "track_file"
        | "vrrp_track_process"
        | "track_process"
        | "static_ipaddress"
        | "static_routes"
        | "static_rules"
        | "track_group"
        | "garp_group"
        | "bfd_instance"
        | "linkbeat_interfaces"
        | "interface_up_down_delays" => Top::Vrrp(""),
        "net_namespace"
        | "net_namespace_ipvs"
        | "namespace_with_ipsets"
        | "instance"
        | "use_pid_dir"
        | "linkbeat_use_polling"
        | "child_wait_time"
        | "process_names"
        | "reload_check_config"
        | "reload_time_file"
        | "reload_repeat"
        | "reload_file"
        | "include_check"
        | "config_save_dir"
        | "tmp_config_directory"
        | "data_use_instance"
        | "umask"
        | "SSL"
        | "random_seed" => Top::Process,
        _ => return None,
    };
    Some(top)
}

const SYNC_GROUP: &str = "
    group track_interface track_script track_file track_process track_bfd notify notify_master
    notify_backup notify_fault notify_stop smtp_alert notify_priority_changes global_tracking
    sync_group_tracking_weight use_ipvlan track_src_ip nopreempt preempt_delay notify_deleted
    debug";

const SCRIPT: &str = "
    script interval timeout weight rise fall user init_fail";

/// Of `vrrp_instance`.
pub(super) const VRRP_INSTANCE: &str = "
    state interface use_vmac use_vmac_addr vmac_xmit_base use_ipvlan version
    dont_track_primary native_ipv6 track_interface track_script track_file track_process
    track_bfd track_src_ip mcast_src_ip mcast_dst_ip unicast_src_ip unicast_peer unicast_ttl
    unicast_fault_no_peer old_unicast_checksum check_unicast_src virtual_router_id priority
    advert_int virtual_ipaddress virtual_ipaddress_excluded promote_secondaries virtual_routes
    virtual_rules accept no_accept skip_check_adv_addr strict_mode preempt nopreempt
    preempt_delay debug notify notify_master notify_backup notify_fault notify_stop
    notify_deleted notify_master_rx_lower_pri notify_priority_changes smtp_alert
    lvs_sync_daemon_interface garp_master_delay garp_master_repeat garp_master_refresh
    garp_master_refresh_repeat garp_lower_prio_delay garp_lower_prio_repeat down_timer_adverts
    lower_prio_no_advert higher_prio_send_advert kernel_rx_buf_size authentication
    linkbeat_use_polling track_group vrf vrrp_version garp_extra_if address_owner fast_bfd
    sync_group_tracking_weight v3_checksum_as_v2 timer_expired_backup auth_hmac
    global_tracking evip_garp use_vmac_dont_track";

/// Of `global_defs`.
pub(super) const GLOBALS: &str = "
    router_id notification_email notification_email_from smtp_server smtp_helo_name
    smtp_connect_timeout smtp_alert smtp_alert_vrrp smtp_alert_checker
    checker_log_all_failures no_email_faults dynamic_interfaces default_interface
    disable_local_igmp lvs_timeouts lvs_flush lvs_flush_on_stop lvs_flush_onstop
    lvs_sync_daemon vrrp_mcast_group4 vrrp_mcast_group6 vrrp_garp_master_delay
    vrrp_garp_master_repeat vrrp_garp_master_refresh vrrp_garp_master_refresh_repeat
    vrrp_garp_lower_prio_delay vrrp_garp_lower_prio_repeat vrrp_down_timer_adverts
    vrrp_garp_interval vrrp_gna_interval vrrp_min_garp vrrp_garp_extra_if
    vrrp_lower_prio_no_advert vrrp_higher_prio_send_advert vrrp_version vrrp_iptables
    vrrp_ipsets nftables nftables_priority nftables_ifindex nftables_ipvs
    nftables_ipvs_priority nftables_ipvs_start_fwmark nftables_counters vrrp_check_unicast_src
    vrrp_skip_check_adv_addr vrrp_strict vrrp_priority vrrp_no_swap vrrp_rt_priority
    vrrp_cpu_affinity vrrp_rlimit_rttime vrrp_rlimit_rtime vrrp_notify_fifo
    vrrp_notify_fifo_script vrrp_notify_priority_changes lvs_notify_fifo
    lvs_notify_fifo_script notify_fifo notify_fifo_script checker_priority checker_no_swap
    checker_rt_priority checker_cpu_affinity checker_rlimit_rttime checker_rlimit_rtime
    bfd_priority bfd_no_swap bfd_rt_priority bfd_cpu_affinity bfd_rlimit_rttime
    bfd_rlimit_rtime snmp_socket enable_traps enable_snmp_vrrp enable_snmp_keepalived
    enable_snmp_rfc enable_snmp_rfcv2 enable_snmp_rfcv3 enable_snmp_checker enable_dbus
    dbus_service_name script_user enable_script_security vrrp_netlink_cmd_rcv_bufs
    vrrp_netlink_cmd_rcv_bufs_force vrrp_netlink_monitor_rcv_bufs
    vrrp_netlink_monitor_rcv_bufs_force process_monitor_rcv_bufs
    process_monitor_rcv_bufs_force lvs_netlink_cmd_rcv_bufs lvs_netlink_cmd_rcv_bufs_force
    lvs_netlink_monitor_rcv_bufs lvs_netlink_monitor_rcv_bufs_force rs_init_notifies
    no_checker_emails vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier vrrp_startup_delay
    vmac_prefix vmac_addr_prefix random_seed reload_check_config reload_time_file
    reload_repeat reload_file include_check config_save_dir tmp_config_directory
    data_use_instance startup_script startup_script_timeout shutdown_script
    shutdown_script_timeout max_auto_priority min_auto_priority_delay process_names
    vrrp_process_name checker_process_name lvs_process_name bfd_process_name use_pid_dir
    fifo_write_vrrp_states_on_reload use_symlink_paths instance net_namespace umask";

/// Of `virtual_server`, as far as they concern checks and scripts.
pub(super) const SERVICE_CHECKS: &str = "
    delay_loop ha_suspend virtualhost snmp_name smtp_alert alpha omega quorum hysteresis
    quorum_up quorum_down connect_timeout retry delay_before_retry warmup inhibit_on_failure
    no_smtp_alert notify_fifo log_all_failures rs_init_notifies";

/// Of `real_server`, as far as they concern checks and scripts.
pub(super) const SERVER_CHECKS: &str = "
    notify_up notify_down inhibit_on_failure alpha smtp_alert virtualhost delay_loop
    connect_timeout retry delay_before_retry warmup snmp_name HTTP_GET SSL_GET TCP_CHECK
    SMTP_CHECK DNS_CHECK MISC_CHECK BFD_CHECK FILE_CHECK PING_CHECK UDP_CHECK no_smtp_alert
    log_all_failures";

/// What every checker knows.
const CHECKER: &str = "
    connect_ip connect_port bindto bind_if bind_port fwmark alpha connect_timeout retry
    delay_before_retry warmup delay_loop log_all_failures smtp_alert virtualhost host";

/// Whether a checker knows a word.
pub(super) fn is_of_checker(checker: &str, word: &str) -> bool {
    let own = match checker {
        "HTTP_GET" | "SSL_GET" => {
            "nb_get_retry http_protocol enable_sni sni_name fast_recovery url tls_compliant"
        }
        "SMTP_CHECK" => "helo_name",
        "DNS_CHECK" => "type name",
        "MISC_CHECK" => "misc_path misc_timeout misc_dynamic user",
        "BFD_CHECK" => "name",
        "FILE_CHECK" => "track_file weight dynamic file",
        "UDP_CHECK" => "payload require_reply min_reply_length max_reply_length",
        _ => "",
    };
    has(own, word) || has(CHECKER, word)
}
