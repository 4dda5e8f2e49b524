# The box that pinhole is compared with: masquerade and a stateful filter of nftables, between in0 and out0. Run by tun.c in a network
# namespace of its own.
ip -batch - << 'EOF'
link set lo up
link set in0 addrgenmode none
link set out0 addrgenmode none
address add 10.255.255.254/8 dev in0
address add 203.0.113.1/32 dev out0
link set in0 mtu 1500 up
link set out0 mtu 1500 up
route add default dev out0
address add fd00::fe/8 dev in0 nodad
address add 2001:db8:ffff::1/128 dev out0 nodad
route add ::/0 dev out0
EOF
# A router that drops what comes from the wrong side, answers as often as it is asked, and is the same on every kernel otherwise.
while read -r name value; do echo "$value" > "/proc/sys/net/$name"; done << 'EOF'
ipv4/ip_forward 1
ipv6/conf/all/forwarding 1
ipv4/conf/all/rp_filter 1
ipv4/conf/in0/rp_filter 1
ipv4/conf/out0/rp_filter 1
ipv4/icmp_ratelimit 0
ipv6/icmp/ratelimit 0
netfilter/nf_conntrack_tcp_loose 1
netfilter/nf_conntrack_tcp_be_liberal 0
netfilter/nf_conntrack_checksum 1
EOF
nft -f - << 'EOF'
table ip box {
  chain source {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "out0" masquerade
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state invalid drop
    ct state established,related accept
    iifname "in0" oifname "out0" accept
  }
  chain input {
    type filter hook input priority filter; policy drop;
  }
}
table ip6 box {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state invalid drop
    ct state established,related accept
    iifname "in0" oifname "out0" accept
  }
  chain input {
    type filter hook input priority filter; policy drop;
  }
}
EOF
