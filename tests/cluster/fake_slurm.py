"""A SLURM of small scripts that answer from files: for what a real one takes minutes to say."""

import os
from pathlib import Path

PARTITIONS = (
    "PartitionName=standard AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=YES MaxNodes=8 MaxTime=1-00:00:00 "
    "State=UP TotalCPUs=512 TotalNodes=4\n"
    "PartitionName=debug AllowAccounts=ALL Default=NO MaxNodes=UNLIMITED MaxTime=00:15:00 State=UP TotalNodes=1\n"
    "PartitionName=old AllowAccounts=rich,richer Default=NO MaxNodes=2 MaxTime=UNLIMITED State=DOWN TotalNodes=2\n"
)
NODES = (
    "standard*|128|515000|(null)\nstandard*|64|515000|gpu:a100:4(S:0-3)\ndebug|128|515000|(null)\nold|16|64000|(null)\n"
)
SCRIPT = """\
#!/bin/sh
PATH=/usr/bin:/bin
here={folder}
printf '%s\\n' "$*" >> $here/{name}.calls
{more}
[ -f $here/{name}.slow ] && exec sleep 6000
[ -f $here/{name}.err ] && cat $here/{name}.err >&2
[ -f $here/{name}.out ] && cat $here/{name}.out
[ -f $here/{name}.rc ] && exit "$(cat $here/{name}.rc)"
exit 0
"""
SBATCH = 'cp "$1" $here/submitted.sh; env > $here/sbatch.env'


class FakeSlurm:
    """Scripts on the PATH, and the files that say what they answer."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        for name in ("sbatch", "srun", "squeue", "scontrol", "sinfo", "scancel", "sacctmgr", "sacct"):
            self.install(name, SBATCH if name == "sbatch" else "")
        self.says("sbatch", "Submitted batch job 4711")
        self.says("scontrol", PARTITIONS)
        self.says("sinfo", NODES)
        monkeypatch.setenv("PATH", f"{self.bin}:/usr/bin:/bin")
        for variable in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
            monkeypatch.delenv(variable)

    def install(self, name: str, more: str = "") -> None:
        """Write one script."""
        script = self.bin / name
        script.write_text(SCRIPT.format(folder=self.folder, name=name, more=more))
        script.chmod(0o755)

    def says(self, name: str, output: str = "", *, error: str = "", status: int = 0) -> None:
        """Let a command answer so from now on."""
        (self.folder / f"{name}.out").write_text(output)
        (self.folder / f"{name}.err").write_text(error)
        (self.folder / f"{name}.rc").write_text(str(status))

    def hangs(self, *names: str) -> None:
        """Let commands not answer at all."""
        for name in names:
            (self.folder / f"{name}.slow").touch()

    def calls(self, name: str) -> list[str]:
        """Return the arguments of every call of a command."""
        file = self.folder / f"{name}.calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def submitted(self) -> str:
        """The script that sbatch has got last."""
        return (self.folder / "submitted.sh").read_text()

    @property
    def environment(self) -> dict[str, str]:
        """The environment that sbatch has had."""
        lines = (self.folder / "sbatch.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)
