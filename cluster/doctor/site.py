"""`swell doctor --site`: checks from a login node whether a cluster is as its site's file says."""

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster.doctor.disks import Writing, mount_of, try_writing
from cluster.jobs.queue import Queue
from cluster.jobs.sites import Site
from cluster.machine.asking import Answer, ask
from cluster.machine.findings import Finding, Verdict
from cluster.machine.scratch import LONGEST_ROOT
from cluster.machine.user import home_folder
from cluster.state.paths import searches_root
from cluster.wording import count

FOLDERS, ENVIRONMENT = "Folders", "Environment"
MODULES_PATIENCE_S = 20.0
OK, WARNING, PROBLEM = Verdict.OK, Verdict.WARNING, Verdict.PROBLEM


def examine_site(queue: Queue, site: Site) -> list[Finding]:
    """Return the findings on a cluster as far as they can be made from here, without a job."""
    with ThreadPoolExecutor() as pool:
        of_queue = pool.submit(queue.site_findings, site)
        quota = pool.submit(read_quota)
        modules = pool.submit(load_modules, site)
    return [
        *of_queue.result(),
        *folder_findings(site, home_folder() or Path("/"), os.environ),
        quota_finding(quota.result()),
        *environment_findings(site, modules.result()),
    ]


# -- folders


def folder_findings(site: Site, home: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield where searches and scratch will be, and whether they may be there."""
    given = environment.get("SWELL_ROOT")
    root = (Path(site.expanded(site.searches_root)) if site.searches_root and not given else searches_root()).resolve()
    yield _searches(site, root, try_writing(root), home, by="SWELL_ROOT" if given else "searches_root")
    yield _scratch(site, home)


def _searches(site: Site, root: Path, writing: Writing, home: Path, by: str) -> Finding:
    name, found = "searches", f"{root} on {mount_of(root).type}"
    if writing.failure:
        advice = "Set `searches_root` in the site's file, or SWELL_ROOT, to a folder that you may write to."
        return Finding(FOLDERS, name, f"{found}; cannot be written to: {writing.failure}", PROBLEM, advice)
    if writing.lock_failure:
        advice = "Use a file system with locks: they keep a search from being worked on twice."
        return Finding(FOLDERS, name, f"{found}; no locks: {writing.lock_failure}", PROBLEM, advice)
    if site.searches_root and home != Path("/") and root.is_relative_to(home):
        advice = f"Set {by} to a folder outside of home: this site's runs belong on its scratch."
        return Finding(FOLDERS, name, f"{found}; in your home", PROBLEM, advice)
    return Finding(FOLDERS, name, f"{found}; writable, locks work")


def _scratch(site: Site, home: Path) -> Finding:
    name = "scratch"
    if site.scratch is None:
        advice = "Set `scratch` to a disk of the nodes, such as /tmp/swell-$USER."
        return Finding(FOLDERS, name, "not given: the nodes' folder for temporary files", WARNING, advice)
    path = Path(site.expanded(site.scratch))
    found = f"{site.scratch}, here {path}: {len(str(path))} of at most {LONGEST_ROOT} characters"
    if home != Path("/") and path.resolve().is_relative_to(home):
        advice = "Set `scratch` to a disk of the nodes: Ray writes there all the time, and homes have quotas."
        return Finding(FOLDERS, name, f"{found}; in your home", PROBLEM, advice)
    if len(str(path)) > LONGEST_ROOT:
        return Finding(FOLDERS, name, found, PROBLEM, "Make it shorter: Ray's sockets lie below it.")
    return Finding(FOLDERS, name, f"{found}; whether nodes can write there is for --submit to see")


def read_quota() -> Answer | None:
    """Return the answer of `quota`; None if there is no such command."""
    if shutil.which("quota") is None:
        return None
    return ask(["quota", "-s"], MODULES_PATIENCE_S)


def quota_finding(answer: Answer | None) -> Finding:
    """Return whether a quota is used up."""
    if answer is None:
        return Finding(FOLDERS, "quota", "no `quota` command here")
    lines = [line.split() for line in answer.text.splitlines()[2:]]
    over = [words for words in lines if any(word.endswith("*") and word != "*" for word in words[1:])]
    if over:
        advice = "Free some of it: a file system over its quota takes no checkpoint."
        return Finding(FOLDERS, "quota", f"used up: {'; '.join(' '.join(words) for words in over)}", PROBLEM, advice)
    if answer.failure:
        return Finding(FOLDERS, "quota", f"not known: {answer.failure}")
    return Finding(FOLDERS, "quota", f"{count(len(lines), 'file system')} with one, none used up" if lines else "none")


# -- environment


def load_modules(site: Site) -> Answer:
    """Return the result of loading the site's modules in a shell of its own."""
    if not site.modules:
        return Answer()
    names = " ".join(map(shlex.quote, site.modules))
    script = f"type module >/dev/null 2>&1 || . /etc/profile; module load {names} && echo loaded"
    answer = ask(["bash", "-c", script], MODULES_PATIENCE_S, limit=300)
    return answer if answer.failure or "loaded" in answer.text else Answer(failure=answer.text or "they did not load")


def environment_findings(site: Site, modules: Answer) -> Iterator[Finding]:
    """Yield whether the site's modules load here, and whether its Python exists."""
    if site.modules:
        found = ", ".join(site.modules)
        if modules.failure:
            advice = "Mend `modules` in the site's file; `module avail` lists what there is."
            yield Finding(ENVIRONMENT, "modules", f"{found}: {modules.failure}", PROBLEM, advice)
        else:
            yield Finding(ENVIRONMENT, "modules", f"{found} load here")
    if site.python:
        python = Path(site.expanded(site.python))
        if os.access(python, os.X_OK):
            yield Finding(ENVIRONMENT, "python", str(python))
        else:
            advice = "Mend `python` in the site's file, unless it is there on the nodes alone: --submit sees."
            yield Finding(ENVIRONMENT, "python", f"{python}: cannot be run here", WARNING, advice)
    reach = "reach the internet" if site.internet else "do not reach the internet: W&B's runs wait for `swell sync`"
    yield Finding(ENVIRONMENT, "internet", f"compute nodes {reach}, says the site's file")
