# Process 1 of the guest that holds the TUN servers. The host's root is mounted read-only by
# hostfs, so all programs are the host's own; only the kernel is another, with the tunnels.
#
# From the kernel's command line: SERVERS (name,IPv4,IPv6 ...; joined by "+"), VIP, VIP6, GATEWAY,
# GATEWAY6, DIR (the lab's run directory, with one nginx configuration per server).
export PATH=/usr/sbin:/sbin:/usr/bin:/bin HOME=/run
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/modules/lib /run/lab
# modprobe looks in /lib/modules only; Debian keeps this kernel's elsewhere.
ln -s /usr/lib/uml/modules /run/modules/lib/modules
modprobe -d /run/modules -a ipv6 veth bridge ipip ip6_tunnel ip_gre ip6_gre fou fou6

# One namespace per server, all on one bridge with the cable to the host. Batches, because
# starting a process is slow here.
names=
for server in $(echo "$SERVERS" | tr + ' '); do
    IFS=, read -r name address address6 <<END
$server
END
    names="$names $name"
    cat >>/run/host.batch <<END
netns add $name
link add $name type veth peer name eth0 netns $name
link set $name master br0 up
END
    cat >"/run/$name.batch" <<END
link set lo up
link set eth0 up
addr add $address/24 dev eth0
addr add $address6/64 dev eth0 nodad
route add default via $GATEWAY
route add default via $GATEWAY6
addr add $VIP/32 dev tunl0
link set tunl0 up
addr add $VIP6/128 dev ip6tnl0 nodad
link set ip6tnl0 up
link set gre0 up
link set ip6gre0 up
END
done
ip -batch - <<END
link add br0 type bridge forward_delay 0 mcast_snooping 0
link set vec0 master br0 up
link set br0 up
END
ip -batch /run/host.batch
for name in $names; do
    # rp_filter 0: what comes out of tunl0 is answered by eth0. ARP: see the DR servers.
    ip netns exec "$name" sh -c '
        sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
            net.ipv4.conf.tunl0.rp_filter=0 net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
            net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
        ip -batch "/run/$1.batch"
        # What is inside of GUE is taken for IP in IP.
        ip fou add port 6080 gue
        ip -6 fou add port 6080 gue
        dnsmasq -C "$2/$1.dnsmasq.conf" &
        exec nginx -e stderr -c "$2/$1.nginx.conf"' sh "$name" "$DIR" &
done
echo "guest: up after $(cut -d' ' -f1 /proc/uptime) s"
wait
# Process 1 must not end while servers run; without any, power off.
echo o >/proc/sysrq-trigger
