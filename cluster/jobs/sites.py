"""Sites: what a cluster asks of a job and what it gives, one YAML file each, ours or the user's own."""

import os
import re
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from cluster.machine.scratch import LONGEST_ROOT
from cluster.machine.user import user_name
from search_spaces.errors import BrokenRule, Problem, SpecError
from search_spaces.loader import load_yaml
from search_spaces.parameters import Many, SpecModel, as_tuple
from search_spaces.validation import explain_validation

DEFAULT_SITE = "generic"
_SUFFIXES = (".yaml", ".yml")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_FOLDER = re.compile(r"(?:/|\$\{?\w)[^\"`\\\n]*")
"""A path that stands in double quotes in the job's shell: absolute, or beginning with a variable."""
Lines = Annotated[Many[str], BeforeValidator(as_tuple)]


class Site(SpecModel):
    """A cluster: where its jobs go, what they load and set, and what its nodes have."""

    id_variables: ClassVar[tuple[str, ...]] = ()
    """Variables in which a job of its queue finds its id."""

    name: str = Field(default="", max_length=64)
    """What the site is called; its file's name by default."""
    partition: str | None = None
    """The partition of its jobs; the cluster's default when left out."""
    account: str | None = None
    """The account that is charged; the user's default when left out."""
    qos: str | None = None
    """Quality of service of its jobs."""
    constraint: str | None = None
    """Features that its nodes must have."""
    modules: Lines = ()
    """Modules that the job loads."""
    setup: Lines = ()
    """Lines of shell that the job runs before ours, on its first node; what they export reaches every node."""
    python: str | None = None
    """The interpreter on the nodes, in an environment with what we need; the one that launches by default."""
    scratch: str | None = None
    """Node-local folder for what is disposable, SWELL_SCRATCH; variables are expanded in the job. Short: Ray's sockets
    lie below it."""
    cache: str | None = None
    """Folder for data sets and compiled programs, SWELL_CACHE; variables are expanded in the job."""
    searches_root: str | None = None
    """Folder of the searches launched there where SWELL_ROOT is not set; variables are expanded at the launch."""
    memory_gb_per_cpu: float | None = Field(default=None, gt=0)
    """Memory asked for per CPU in GB; the partition's default when left out."""
    cpus_per_node: int | None = Field(default=None, ge=1)
    """CPUs of a node, the most that a job may ask for."""
    gpus_per_node: int = Field(default=0, ge=0)
    """GPUs of a node."""
    default_cpus: int | None = Field(default=None, ge=1)
    """CPUs per node of a launch that does not say; a whole node's when left out."""
    max_nodes: int | None = Field(default=None, ge=1)
    """The most nodes, or jobs, of one launch."""
    max_hours: float | None = Field(default=None, gt=0)
    """The longest a job may be."""
    default_hours: float = Field(default=4.0, gt=0)
    """Hours of a launch that does not say."""
    internet: bool = True
    """Whether the compute nodes reach the internet."""
    signal_s: int = Field(default=120, ge=10, le=3600)
    """Seconds ahead of its time limit at which a job is told to save and to queue again."""

    @model_validator(mode="after")
    def _check(self) -> "Site":
        problems = [*self._folder_problems(), *self.own_problems()]
        if self.max_hours is not None and self.default_hours > self.max_hours:
            rule = f"must be at most max_hours, which is {self.max_hours:g}"
            problems.append(Problem(("default_hours",), rule, self.default_hours))
        if self.cpus_per_node is not None and (self.default_cpus or 0) > self.cpus_per_node:
            rule = f"must be at most cpus_per_node, which is {self.cpus_per_node}"
            problems.append(Problem(("default_cpus",), rule, self.default_cpus))
        if problems:
            raise BrokenRule(problems)
        return self

    def _folder_problems(self) -> list[Problem]:
        problems = []
        for key in ("scratch", "cache", "searches_root", "python"):
            folder = getattr(self, key)
            if folder is not None and not _FOLDER.fullmatch(folder):
                allowed = "/a/path, or one that begins with a variable: $TMPDIR/x; no quotes, backslashes or backticks"
                problems.append(Problem((key,), "must be an absolute path", folder, allowed=allowed))
        if self.scratch and not problems and (length := len(self.expanded(self.scratch))) > LONGEST_ROOT:
            rule = f"is {length} characters long, at most {LONGEST_ROOT} are allowed: Ray's sockets lie below it"
            problems.append(Problem(("scratch",), rule, self.scratch, allowed="a shorter path, such as /tmp/$UID"))
        return problems

    def own_problems(self) -> list[Problem]:
        """Return the problems of keys that only this kind of queue has."""
        return []

    def expanded(self, folder: str) -> str:
        """Return a folder with the variables replaced that are known here; a job's id counts as eight digits."""
        known = {
            "USER": user_name(),
            "UID": str(os.getuid()),
            **os.environ,
            **dict.fromkeys(self.id_variables, "12345678"),
        }
        return _VARIABLE.sub(lambda found: known.get(found[1] or found[2], ""), folder)


def load_site(name: str, site_type: type[Site], folder: Path) -> Site:
    """Return a site of a type by its name in a folder, or by the path of its YAML file.

    Raises SpecError, with one line per problem, if there is no such site or its file is wrong.
    """
    path = Path(name)
    if path.suffix not in _SUFFIXES and "/" not in name:
        path = folder / f"{name}.yaml"
        if not path.is_file():
            names = tuple(sorted(file.stem for file in folder.glob("*.yaml")))
            allowed = f"{', '.join(names)}, or the path of a YAML file of your own"
            raise SpecError([Problem(("--site",), "there is no such site", name, choices=names, allowed=allowed)])
    values, source = load_yaml(path)
    try:
        return site_type.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        raise source.error(explain_validation(error, site_type, values)) from None
