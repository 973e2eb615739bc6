#!/bin/bash

# Parameters
#SBATCH --account=physics
#SBATCH --constraint=zen3
#SBATCH --cpus-per-task=16
#SBATCH --error=/searches/short/submission/%j_0_log.err
#SBATCH --exclusive
#SBATCH --job-name=short
#SBATCH --mail-type=END,FAIL
#SBATCH --mem-per-cpu=3584M
#SBATCH --no-kill
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/searches/short/submission/%j_0_log.out
#SBATCH --partition=standard
#SBATCH --qos=normal
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=90

# setup
umask 077
type module >/dev/null 2>&1 || . /etc/profile  # a job's shell may not know it
module load gcc || { echo "swell: module gcc cannot be loaded" >&2; exit 1; }
module load python/3.11 || { echo "swell: module python/3.11 cannot be loaded" >&2; exit 1; }
export http_proxy=http://proxy:3128
export USER="${USER:-$(id -un)}"
export SWELL_SCRATCH="/tmp/swell-$USER"
export SWELL_CACHE="$TMPDIR/cache"
export PYTHONPATH=/swell${PYTHONPATH:+:$PYTHONPATH}

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /searches/short/submission/%j_%t_log.out --error /searches/short/submission/%j_%t_log.err --cpus-per-task=16 --export=ALL --no-kill --kill-on-bad-exit=0 --wait=0 "/opt/swell/bin/python" -P -u -m submitit.core._submit /searches/short/submission
