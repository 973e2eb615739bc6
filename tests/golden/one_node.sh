#!/bin/bash

# Parameters
#SBATCH --cpus-per-task=8
#SBATCH --error=/searches/short/submission/%j_0_log.err
#SBATCH --job-name=short
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/searches/short/submission/%j_0_log.out
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=240

# setup
umask 077
export SWELL_SCRATCH="/tmp/swell-$UID"
export PYTHONPATH=/swell${PYTHONPATH:+:$PYTHONPATH}

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /searches/short/submission/%j_%t_log.out --error /searches/short/submission/%j_%t_log.err --cpus-per-task=8 --export=ALL /swell/.venv/bin/python -P -u -m submitit.core._submit /searches/short/submission
