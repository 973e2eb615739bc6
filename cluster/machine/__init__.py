"""What this machine is and has: processes, clocks, CPUs, memory, disks, scratch."""
