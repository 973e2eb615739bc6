# shellcheck shell=bash
# Nodes: their network, their disks, their start and their end. Sourced by testbed.sh.
#
# In mode `namespaces` a node is one process tree: unshare, and below it the node's pid 1, a shell that sets the node up,
# starts slurmd and reaps orphans. Ending unshare ends the node with everything on it, as pulling its plug would.
: "${bed:?}" "${hash:?}" "${login_host:?}" "${scratch:?}"

bridge=tb$(printf %08x "$hash")        # an interface's name has at most 15 characters
link_of() { echo "$bridge-${1#n}"; }    # a node's end of the cable

on_login_node() { # with this host's name standing for the bridge: daemons and srun listen on what it resolves to
  [ "$mode" = namespaces ] || { "$@"; return; }
  # shellcheck disable=SC2016
  unshare --mount bash -c 'mount --bind "$0" /etc/hosts; exec "$@"' "$bed/etc/hosts" "$@"
}

network_up() {
  [ "$mode" = namespaces ] || return 0
  ip link add "$bridge" type bridge
  ip addr add "$net.254/24" dev "$bridge"
  ip link set "$bridge" up
}

network_down() {
  local node
  if [ "$(id -u)" != 0 ] || ! command -v ip >/dev/null; then return 0; fi
  for node in "$bed"/disk/n*; do    # a dead node's cable goes by itself, a moment later
    ip link del "$(link_of "${node##*/}")" 2>/dev/null || true
  done
  ip link del "$bridge" 2>/dev/null || true
}

disk_up() { # node: a file system of its own, with its own size, that outlives a crash
  mountpoint -q "$bed/disk/$1" || mount -t tmpfs -o "size=${TESTBED_SCRATCH_MB:-2048}m,mode=1777" "testbed-$1" "$bed/disk/$1"
}

scratch_down() {
  local disk
  for disk in "$bed"/disk/n*; do
    if mountpoint -q "$disk" 2>/dev/null; then umount "$disk" || umount --lazy "$disk"; fi
  done
}

in_own_network() { [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }

# What a node's pid 1 does. The cable is plugged in from outside.
# shellcheck disable=SC2016
node_init='
  node=$1 bed=$2 scratch=$3 address=$4; shift 4
  echo "$node" >/proc/sys/kernel/hostname
  mount --bind "$bed/etc/hosts" /etc/hosts
  mount --bind "$bed/disk/$node" "$scratch"
  mount -t tmpfs -o size=2g,mode=1777 tmpfs /dev/shm
  ip link set lo up
  until ip link show eth0 >/dev/null 2>&1; do sleep .02; done
  ip addr add "$address/24" dev eth0
  ip link set eth0 up
  export HOSTNAME=$node
  slurmd -D -N "$node" "$@" &
  while :; do sleep 3600 & wait $!; done'

node_up() { # node [options of slurmd]
  local node=$1 pid
  shift
  if alive "node-$node"; then return 0; fi
  rm -f "$bed/run/slurmd-$node.pid"
  if [ "$mode" = ports ]; then
    SLURMD_NODENAME=$node slurmd -N "$node" "$@"
    claim "slurmd-$node" "node-$node"
    return 0
  fi
  disk_up "$node"
  ip link del "$(link_of "$node")" 2>/dev/null || true
  setsid unshare --net --mount --uts --ipc --pid --fork --kill-child --mount-proc \
    bash -c "$node_init" "$node" "$node" "$bed" "$scratch" "$net.${node#n}" "$@" </dev/null >>"$bed/log/node-$node.log" 2>&1 &
  pid=$!
  remember "node-$node" "$pid"
  until_ok 10 in_own_network "$pid" || die "$node got no network of its own"    # or its cable would end up in ours
  ip link add "$(link_of "$node")" type veth peer name eth0 netns "$pid"
  ip link set "$(link_of "$node")" master "$bridge" up
}

crash() { # node: with its jobs; nothing has a chance to say goodbye
  end "node-$1" KILL
  if [ "$mode" = ports ]; then sweep "$1"; fi
}

serves() { # node; one that came back before its crash was noticed is put to "down" by slurmctld, and needs a word
  case $(timeout 3 sinfo -h -p main -N -n "$1" -o %t) in
    idle | mix | alloc | comp) ;;
    down) scontrol update nodename="$1" state=resume || true; return 1 ;;
    *) return 1 ;;
  esac
}

boot() { # node; -b: slurmctld is told of the reboot, and so at once knows the node's jobs for lost
  alive "node-$1" && return 0
  node_up "$1" -b
  if alive slurmctld; then until_ok 60 serves "$1" || die "$1 does not come back: $(sinfo -h -p main -N -n "$1" -o %t)"; fi
}
