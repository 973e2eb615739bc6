# shellcheck shell=bash
# What this test bed is: its mode, its addresses, its slurm.conf. Sourced by testbed.sh.
: "${bed:?}" "${login_host:?}" "${scratch:?}"

nodes=${TESTBED_NODES:-2}
cpus=${TESTBED_CPUS:-4}
mem_mb=${TESTBED_MEM_MB:-8000}
hash=$(printf %s "$bed" | cksum | cut -d' ' -f1)    # sets apart the interfaces, addresses and ports of several beds

node_names() { seq -f 'n%.0f' "$nodes"; }

may_make_namespaces() {
  [ "$(id -u)" = 0 ] && command -v ip >/dev/null && unshare --net --uts --ipc --pid --fork --mount true 2>/dev/null
}

choose_mode() {
  mode=${TESTBED_MODE:-}
  case $mode in
    namespaces | ports) ;;
    '') if may_make_namespaces; then mode=namespaces; else mode=ports; fi ;;
    *) die "TESTBED_MODE must be namespaces or ports, got $mode" ;;
  esac
}

shape() { # all that a running bed cannot change: another shape is another bed
  echo "$mode $nodes $cpus $mem_mb ${TESTBED_NET:-} ${TESTBED_PORT:-} ${TESTBED_SCRATCH_MB:-}" \
    "${TESTBED_GRACE_SECONDS:-} ${TESTBED_NODE_TIMEOUT:-} ${TESTBED_PROCTRACK:-}"
}

recall() { read -r mode nodes net port <"$bed/network"; }

make_folders() {
  if [ -d "$bed" ] && [ -n "$(ls -A "$bed")" ]; then
    die "TESTBED_DIR must be a new or empty folder, it is deleted by 'down': $bed"
  fi
  mkdir -p "$bed"
  touch "$bed/.testbed"    # `down` deletes no folder without it
  mkdir "$bed"/{etc,run,log,state,bin,own,spool,disk,scratch}
  chmod 755 "$bed" "$bed"/*
  chmod 1777 "$scratch"
}

taken_net() { ip -4 -o addr 2>/dev/null | grep -qF " $1."; }
taken_port() { grep -qE "^ *[0-9]+: [0-9A-F]+:$(printf %04X "$1") [0-9A-F:]+ 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null; }

choose_network() {
  local i=$hash p
  while :; do
    net=${TESTBED_NET:-10.$((64 + i % 128)).$((i / 128 % 256))}
    port=${TESTBED_PORT:-$((12000 + i % 900 * 20))}    # below the ports that systems give out by themselves
    i=$((i + 1))
    [ -z "${TESTBED_NET:-}" ] && taken_net "$net" && continue
    if [ -z "${TESTBED_PORT:-}" ]; then
      for p in $(seq "$port" $((port + 10 + nodes))); do taken_port "$p" && continue 2; done
    fi
    break
  done
  echo "$mode $nodes $net $port" >"$bed/network"
}

address() { # of the login node. The daemons listen on what its name resolves to, and only there (No*InAddrAny), unless ...
  [ "$mode" = ports ] || { echo "$net.254 closed"; return; }
  local found
  found=$(getent ahostsv4 "$login_host" | awk 'NR==1{print $1}' || true)
  case $found in    # ... that is 127.0.1.1, Debian's habit: peers see 127.0.0.1, and srun fails. The key guards the ports then.
    127.0.0.1) echo "127.0.0.1 closed" ;;
    '' | 127.*) echo "127.0.0.1 open" ;;
    *) echo "$found closed" ;;
  esac
}

node_lines() {
  local node i=0
  for node in $(node_names); do
    i=$((i + 1))
    printf 'NodeName=%s NodeHostname=%s ' "$node" "$node"
    if [ "$mode" = namespaces ]; then printf 'NodeAddr=%s.%d Port=%d ' "$net" $i $((port + 1))
    else printf 'NodeAddr=%s Port=%d ' "$address" $((port + 10 + i)); fi
    echo "CPUs=$cpus RealMemory=$mem_mb State=UNKNOWN"
  done
}

write_config() {
  local address reach node i=0
  read -r address reach <<<"$(address)"
  (umask 077; head -c 128 /dev/urandom >"$bed/etc/munge.key")
  printf '127.0.0.1 localhost\n%s.254 %s\n' "$net" "$login_host" >"$bed/etc/hosts"
  for node in $(node_names); do
    i=$((i + 1))
    echo "$net.$i $node" >>"$bed/etc/hosts"
    mkdir "$bed/spool/$node" "$bed/disk/$node"
  done
  # slurmd loads a cgroup plugin whatever tracks the processes; naming v1 lets it start with any /sys/fs/cgroup, or none.
  echo CgroupPlugin=cgroup/v1 >"$bed/etc/cgroup.conf"
  # Job ids start from the clock, so that a new bed does not give the ids that old logs and pickles carry.
  # MinJobAge: sacct's stand-in asks slurmctld, which has to remember.
  cat >"$SLURM_CONF" <<CONF
ClusterName=testbed
SlurmctldHost=$login_host($address)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$bed/run/munge.sock,cred_expire=5
$([ "$reach" = open ] || echo CommunicationParameters=NoCtldInAddrAny,NoInAddrAny)
StateSaveLocation=$bed/state
SlurmdSpoolDir=$bed/spool/%n
SlurmctldPidFile=$bed/run/slurmctld.pid
SlurmdPidFile=$bed/run/slurmd-%n.pid
SlurmctldLogFile=$bed/log/slurmctld.log
SlurmdLogFile=$bed/log/slurmd-%n.log
MailProg=/bin/true
FirstJobId=$(($(date +%s) % 60000000))
MinJobAge=86400
ProctrackType=proctrack/${TESTBED_PROCTRACK:-linuxproc}
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
SlurmdParameters=config_overrides
ReturnToService=1
SlurmctldTimeout=10
SlurmdTimeout=${TESTBED_NODE_TIMEOUT:-10}
BatchStartTimeout=10
KillWait=3
InactiveLimit=0
JobRequeue=1
AccountingStorageType=accounting_storage/none
$(node_lines)
PartitionName=DEFAULT Nodes=ALL DefMemPerCPU=500 MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=main Default=YES
PartitionName=short MaxTime=2
PartitionName=low PriorityTier=1 PreemptMode=REQUEUE GraceTime=${TESTBED_GRACE_SECONDS:-10}
CONF
  cp "$here/sacct" "$bed/bin/sacct"
  chmod 755 "$bed/bin/sacct"
}

print_env() {
  printf 'export SLURM_CONF=%q\nexport PATH=%q:"$PATH"\nexport TESTBED_SCRATCH=%q\n' "$SLURM_CONF" "$bed/bin" "$scratch"
}
