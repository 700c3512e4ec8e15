#!/bin/sh
modprobe ip_vs_ftp ports=21,2121
sysctl -w net.ipv4.vs.expire_nodest_conn=1
echo 1 > /proc/sys/net/ipv4/vs/expire_quiescent_template
echo 7 > /proc/sys/net/ipv4/vs/drop_entry
sysctl -w net.ipv4.vs.pmtu_disc=0
sysctl -w net.ipv4.vs.no_such=1
sysctl -w net.ipv4.vs.sync_threshold="3 50"
ip addr add 192.0.2.100/32 dev lo
ipvsadm -C
/sbin/ipvsadm -A -t 192.0.2.100:80 -s wrr
/sbin/ipvsadm -a -t 192.0.2.100:80 -r 10.0.0.1:80 -m -w 2
/sbin/ipvsadm -a -t 192.0.2.100:80 -r 10.0.0.1:80 -m -w 3
/sbin/ipvsadm -e -t 192.0.2.100:80 -r 10.0.0.1:80 -m -w 4
/sbin/ipvsadm -a -t 192.0.2.100:80 -r 127.0.0.1:80 -m
/sbin/ipvsadm -a -t 192.0.2.101:80 -r 10.0.0.1:80 -m
/sbin/ipvsadm -A -t 192.0.2.102:0 -s rr
/sbin/ipvsadm -E -t 192.0.2.100:80 -s rr
/sbin/ipvsadm --start-daemon master --mcast-interface eth1
/sbin/ipvsadm -Ln
