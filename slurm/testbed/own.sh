# shellcheck shell=bash
# The processes of this test bed, and how they end. Sourced by testbed.sh.
#
# Each daemon has a file in $bed/own with its pid and its start time. Nothing is signalled that is not listed there, or that
# does not carry this very bed's SLURM_CONF in its environment: other people's SLURM and other test beds are on the machine.
: "${bed:?}"

start_of() { # pid: its start time; nothing for the dead and for zombies
  sed -n 's/.*) //; /^Z/!p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

alive() { # name
  local pid start
  [ -s "$bed/own/$1" ] || return 1
  read -r pid start <"$bed/own/$1" || true
  [ -n "${start:-}" ] && [ "$start" = "$(start_of "$pid")" ]
}
gone() { ! alive "$1"; }

pid_of() { cut -d' ' -f1 "$bed/own/$1"; }
remember() { echo "$2 $(start_of "$2")" >"$bed/own/$1"; }    # name pid

until_ok() { # seconds command..
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep .05
  done
}

claim() { # name [as]: the daemon has gone to the background and written its pid
  if ! until_ok 30 test -s "$bed/run/$1.pid"; then
    tail -n 5 "$bed/log/$1"*.log >&2 || true
    die "$1 did not start"
  fi
  remember "${2:-$1}" "$(tr -dc 0-9 <"$bed/run/$1.pid")"
}

end() { # name [signal]
  local pid
  if alive "$1"; then
    pid=$(pid_of "$1")
    kill "-${2:-TERM}" "$pid" 2>/dev/null || true
    if ! until_ok 10 gone "$1"; then
      kill -KILL "$pid" 2>/dev/null || true
      until_ok 10 gone "$1" || die "$1 (pid $pid) cannot be ended"
    fi
  fi
  rm -f "$bed/own/$1"
}

sweep() { # [node]: job processes and slurmstepds of this bed (or of one of its nodes) that outlived their slurmd
  local environ pid
  for environ in /proc/[0-9]*/environ; do
    grep -qzxF "SLURM_CONF=$SLURM_CONF" "$environ" 2>/dev/null || continue
    grep -qzxE "SLURMD_NODENAME=${1:-.*}" "$environ" 2>/dev/null || continue
    pid=${environ#/proc/} pid=${pid%/environ}
    if [ "$pid" != $$ ]; then kill -KILL "$pid" 2>/dev/null || true; fi
  done
}
