#!/usr/bin/env bash
# A real, throw-away SLURM cluster on one machine: munge, slurmctld and slurmd from Debian's packages, without systemd and
# without containers, in a directory of its own with a key of its own. Several can run side by side.
#
#   testbed.sh install [PACKAGE..]   through apt, as root; starts no service; says what is missing to anybody else
#   testbed.sh up                    start it, or what is missing of it
#   testbed.sh env                   eval "$(testbed.sh env)": SLURM_CONF, PATH and TESTBED_SCRATCH for this shell
#   testbed.sh run CMD..             run a command on its login node (srun and salloc need it; sbatch does not)
#   testbed.sh crash NODE            pull the plug of a node
#   testbed.sh boot NODE             start it again; its scratch is as it was
#   testbed.sh stop-controller [SIGNAL] | start-controller | restart-controller      jobs go on meanwhile
#   testbed.sh status | down         down leaves no process, mount, network interface or file behind
#
# Knobs, all in the environment:
#   TESTBED_DIR    where everything lies, at most 60 characters (unix sockets)
#   TESTBED_MODE   namespaces: every node has its own network, pid, uts, ipc and mount namespace: host name nI, its own
#                  addresses, its own /dev/shm and scratch, no way to the internet (root; the default where it works)
#                  ports: nodes share host name, address, pids and scratch and differ by slurmd's port (any user)
#   TESTBED_NODES TESTBED_CPUS TESTBED_MEM_MB    how many nodes, and what each declares (it need not exist)
#   TESTBED_SCRATCH_MB     size of each node's scratch, a file system of its own
#   TESTBED_GRACE_SECONDS  between the signal and the end of a preempted job (partition low)
#   TESTBED_NODE_TIMEOUT   seconds after which a silent node is looked at; SLURM then takes as long again
#   TESTBED_NET TESTBED_PORT    a /24 prefix and the first of a few ports; derived from TESTBED_DIR unless given
#   TESTBED_PROCTRACK      linuxproc (children that left the session outlive their job), or cgroup
#
# Partitions: main (default); short (at most 2 minutes); low, whose jobs are preempted and requeued for those of all others.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
export PATH=$PATH:/usr/sbin:/sbin

die() { echo "testbed: $*" >&2; exit 1; }

bed=$(realpath -m "${TESTBED_DIR:-${TMPDIR:-/tmp}/swell-testbed-$(id -u)}")
[ ${#bed} -le 60 ] || die "TESTBED_DIR must be at most 60 characters, for unix sockets; got ${#bed}: $bed"
login_host=$(uname -n) login_host=${login_host%%.*}
scratch=$bed/scratch
export SLURM_CONF=$bed/etc/slurm.conf
unset "${!SLURM_JOB@}" "${!SBATCH_@}"    # it may be started from within a job of a larger cluster

# shellcheck source=slurm/testbed/own.sh
. "$here/own.sh"
# shellcheck source=slurm/testbed/config.sh
. "$here/config.sh"
# shellcheck source=slurm/testbed/nodes.sh
. "$here/nodes.sh"

install() {
  local packages=(munge slurmctld slurmd slurm-client iproute2 util-linux "$@") policy=/usr/sbin/policy-rc.d made='' try
  dpkg -s "${packages[@]}" >/dev/null 2>&1 && return 0
  [ "$(id -u)" = 0 ] || die "packages are missing; as root: apt-get install --no-install-recommends ${packages[*]}"
  command -v apt-get >/dev/null || die "needs apt-get; otherwise install the like of: ${packages[*]}"
  if [ ! -e $policy ]; then    # the packages would start a munged and a slurmd of their own
    printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy; made=1
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  for try in 1 2 3; do
    if apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
         -o DPkg::Lock::Timeout=120 "${packages[@]}" >/dev/null; then break; fi
    [ $try -lt 3 ] || die "apt-get could not install ${packages[*]}"
    echo "testbed: apt-get failed, trying again" >&2; sleep $((5 * try))
  done
  if [ -n "$made" ]; then rm -f $policy; fi
}

munge_up() {
  rm -f "$bed/run/munged.pid"
  munged --key-file="$bed/etc/munge.key" --socket="$bed/run/munge.sock" --pid-file="$bed/run/munged.pid" \
         --log-file="$bed/log/munged.log" --seed-file="$bed/run/munged.seed" --num-threads=2
  claim munged
}

controller_up() { # [-c: forget the jobs of before]
  if alive slurmctld; then return 0; fi
  rm -f "$bed/run/slurmctld.pid"
  on_login_node slurmctld "$@"
  claim slurmctld
}

all_ready() { [ "$(timeout 3 sinfo -h -p main -N -o '%N %t' | grep -cE ' (idle|mix|alloc|comp)$')" = "$nodes" ]; }

up() {
  local node tool
  for tool in munged slurmctld slurmd sbatch; do
    command -v $tool >/dev/null || die "there is no $tool here; as root: $0 install"
  done
  choose_mode
  if alive slurmctld && alive munged && [ "$(cat "$bed/shape" 2>/dev/null)" = "$(shape)" ]; then
    recall
  else
    down
    make_folders
    choose_network
    write_config
    munge_up
    network_up
    controller_up -c
    shape >"$bed/shape"
  fi
  for node in $(node_names); do node_up "$node"; done
  until_ok 60 all_ready && return 0
  timeout 3 sinfo -N -l >&2 || true
  tail -n 5 "$bed"/log/*.log >&2 || true
  die "the nodes did not get ready"
}

down() {
  [ -e "$bed/.testbed" ] || return 0
  local own
  for own in "$bed"/own/node-*; do
    if [ -e "$own" ]; then end "${own##*/}" KILL; fi
  done
  end slurmctld; end munged
  sweep
  network_down
  scratch_down
  rm -rf "$bed"
}

status() {
  local own name
  [ -e "$bed/shape" ] || { echo "down ($bed)"; return 0; }
  recall
  echo "$mode, logs in $bed/log"
  for own in "$bed"/own/*; do
    name=${own##*/}
    if alive "$name"; then echo "up   $name"; elif [ -e "$own" ]; then echo "dead $name"; fi
  done
  timeout 5 sinfo -N -l -p main || true
  timeout 5 squeue || true
}

must_be_up() {
  [ -e "$bed/shape" ] || die "it is not up (TESTBED_DIR is $bed)"
  recall
}
must_be_node() { node_names | grep -qx -- "${1:-}" || die "the nodes are $(node_names | paste -sd' '), got '${1:-}'"; }

case ${1:-} in
  install) shift; install "$@" ;;
  up) up ;;
  down) down ;;
  status) status ;;
  env) must_be_up; print_env ;;
  run) must_be_up; shift; eval "$(print_env)"; on_login_node "$@" ;;
  crash) must_be_up; must_be_node "${2:-}"; crash "$2" ;;
  boot) must_be_up; must_be_node "${2:-}"; boot "$2" ;;
  stop-controller) must_be_up; end slurmctld "${2:-TERM}" ;;
  start-controller) must_be_up; controller_up ;;
  restart-controller) must_be_up; end slurmctld; controller_up ;;
  *) die "usage: install | up | env | run CMD.. | down | status | crash NODE | boot NODE | {stop,start,restart}-controller" ;;
esac
