#!/usr/bin/env bash
# Compiles the SELinux module (checkmodule, semodule_package) and links it into Debian's policy, in a copy of its store.
# Of the policy that comes out it asks what must hold. The kernel of this machine need not have SELinux.
set -euo pipefail
cd "$(dirname "$0")/.."
. check/broker.sh

cp selinux/sluice.* "$WORK"
make -s -C "$WORK" -f /usr/share/selinux/devel/Makefile sluice.pp

root=$WORK/selinux
mkdir -p "$root/etc" "$root/var/lib"
cp -a /etc/selinux "$root/etc"
cp -a /var/lib/selinux "$root/var/lib"
semodule -p "$root" -s default -n -i "$WORK/sluice.pp" 2>"$WORK/semodule.log" || {
    cat "$WORK/semodule.log" >&2
    exit 1
}
policy=$(find "$root/etc/selinux/default/policy" -name 'policy.*')
contexts=$root/etc/selinux/default/contexts/files/file_contexts

# What the broker's domain may do while no boolean is set: the types, or nothing.
targets() {
    sesearch -A -s sluice_t "$@" "$policy" | grep -v '\]:True$' | types
}
types() {
    sed -n 's/^allow sluice_t \([a-z_]*\):.*/\1/p' | sort -u | tr '\n' ' '
}
same "it binds to" "sluice_port_t " "$(targets -c tcp_socket -p name_bind)"
same "it connects to" "" "$(targets -c tcp_socket -p name_connect)"
same "it may be allowed to connect to" "dns_port_t http_port_t " \
    "$(sesearch -A -s sluice_t -b sluice_ask_services -c tcp_socket -p name_connect "$policy" | types)"
same "it runs" "" "$(targets -c file -p execute_no_trans)"
same "it has the capabilities of" "" "$(targets -c capability)"
same "it makes machine code in" "sluice_t " "$(targets -c process -p execmem)"
same "it makes files as" "sluice_var_lib_t " "$(targets -c file -p create)"
same "its transition with NoNewPrivileges" "allow init_t sluice_t:process2 { nnp_transition nosuid_transition };" \
    "$(sesearch -A -s init_t -t sluice_t -c process2 "$policy")"

while read -r path type; do
    same "$path" "system_u:object_r:$type:s0" "$(matchpathcon -n -f "$contexts" "$path")"
done <<END
/usr/bin/sluice sluice_exec_t
/etc/sluice/sluice.toml sluice_conf_t
/var/lib/private/sluice/compiled-policies/x sluice_var_lib_t
/run/sluice/admin.sock sluice_runtime_t
END
echo "selinux: the module links with the distribution's policy and gives what it should"
