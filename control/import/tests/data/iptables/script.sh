#!/bin/sh
# the usual recipe for FTP
iptables -t mangle -A PREROUTING -p tcp -d 192.0.2.100/32 --dport 21 -j MARK --set-mark 21
iptables -t mangle -A PREROUTING -p tcp -d 192.0.2.100/32 --dport 1024:65535 -j MARK --set-mark 21
ip6tables -t mangle -I PREROUTING -p tcp -d 2001:db8::100 --dport https -j MARK --set-mark 0x16
iptables -A INPUT -p tcp -j ACCEPT
