"""A W&B server of the tests: as much of its GraphQL and its files as the real client needs to upload runs, and to fetch
artifacts."""

import base64
import gzip
import hashlib
import json
import math
import threading
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.waiting import PATIENCE_S

KEY = "k" * 40
VIEWER = {"id": "u1", "entity": "me", "username": "me", "name": "Me", "email": "", "admin": False, "flags": "{}"}


class WandbServer(ThreadingHTTPServer):
    """What has been uploaded, by run id, and what is to go wrong."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.runs = {}
        """The variables of every run's last upsert."""
        self.upserts = []
        """Ids in the order in which runs were begun."""
        self.history = defaultdict(dict)
        """Rows by step of every run."""
        self.summary = {}
        self.exit_codes = {}
        self.refused = set()
        """Ids of runs that the server has no room for."""
        self.most_runs = math.inf
        """Further runs are answered once `goes_on` is set."""
        self.goes_on = threading.Event()
        self.artifacts = {}
        """The versions of every artifact by its ENTITY/PROJECT/NAME, the last one the latest: contents by path, or a
        URL that is referred to."""
        self.downloads = []
        """The files of artifacts that were fetched."""

    def handle_error(self, request, client_address):
        """Say nothing of clients that were killed."""

    def graphql(self, query, variables):
        """Return the answer to a query."""
        data = {}
        if "viewer" in query:
            data["viewer"] = {**VIEWER, "teams": {"edges": []}, "apiKeys": {"edges": []}}
        if "serverInfo" in query:
            data["serverInfo"] = {"cliVersionInfo": {"max_cli_version": "99.0"}, "features": []}
        if "RunResumeStatus" in query:
            data["model"] = self._resumed(variables["name"])
        if "upsertBucket" in query:
            name = variables["name"]
            if name in self.refused:
                return {"errors": [{"message": "permission denied"}], "data": None}
            if name not in self.runs:
                if len(self.upserts) >= self.most_runs:
                    self.goes_on.wait(PATIENCE_S)
                self.upserts.append(name)
            self.runs[name] = {**self.runs.get(name, {}), **{k: v for k, v in variables.items() if v is not None}}
            project = {"id": "p1", "name": variables.get("project"), "entity": {"id": "e1", "name": "me"}}
            bucket = {"id": f"b-{name}", "name": name, "config": "{}", "project": project, "historyLineCount": 0}
            data["upsertBucket"] = {"bucket": {**bucket, "displayName": name, "sweepName": None}, "inserted": True}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in variables.get("files", [])]
            data["createRunFiles"] = {"runID": "b", "uploadHeaders": [], "files": files}
        if "ArtifactMembershipByName" in query:
            data["project"] = self._membership(**variables)
        if "FetchArtifactManifest" in query:
            manifest = {"file": {"directUrl": f"{self.url}/manifests/{variables['id']}"}}
            data["artifact"] = {"currentManifest": manifest}
        if "GetArtifactMembershipFileUrls" in query:
            data["project"] = self._file_urls(**variables)
        return {"data": data}

    def _membership(self, entity, project, name, **_):
        """Return what the client asks of an artifact's version, by that or by an alias."""
        collection, _, alias = name.partition(":")
        versions = self.artifacts.get(f"{entity}/{project}/{collection}", [])
        number = len(versions) - 1 if alias == "latest" else int(alias.removeprefix("v"))
        if number not in range(len(versions)):
            return {"artifactCollectionMembership": None}
        place = {"id": "p1", "internalId": "p1", "name": project, "entity": {"name": entity}}
        sequence = {"__typename": "ArtifactSequence", "name": collection, "project": place}
        artifact = dict.fromkeys(("description", "metadata", "historyStep", "commitHash", "updatedAt"))
        artifact |= {"id": f"{entity}/{project}/{collection}/{number}", "artifactSequence": sequence, "tags": []}
        artifact |= {"versionIndex": number, "artifactType": {"name": "code"}, "ttlDurationSeconds": -1}
        artifact |= {"ttlIsInherited": False, "state": "COMMITTED", "size": 1, "digest": "d", "fileCount": 1}
        times = {"createdAt": "2026-01-01T00:00:00Z"}
        artifact |= {"__typename": "Artifact", "digestAlgorithm": "MANIFEST_MD5", **times}
        member = {"__typename": "ArtifactCollectionMembership", "id": "m1", "versionIndex": number, "aliases": []}
        return {
            "artifactCollectionMembership": {**member, **times, "artifactCollection": sequence, "artifact": artifact}
        }

    def _file_urls(self, entity, project, collection, alias, **_):
        """Return where the files of an artifact's version are fetched from."""
        key = f"{entity}/{project}/{collection}/{alias.removeprefix('v')}"
        urls = {path: f"{self.url}/artifacts/{key}/{path}" for path in self.files(key)}
        files = [{"node": {"__typename": "File", "name": path, "directUrl": url}} for path, url in urls.items()]
        page = {"pageInfo": {"endCursor": None, "hasNextPage": False}, "edges": files}
        member = {"__typename": "ArtifactSequence", "artifactMembership": {"files": page}}
        return {"artifactCollection": member}

    def files(self, key):
        """Return the files of an artifact's version."""
        name, _, number = key.rpartition("/")
        return self.artifacts[name][int(number)]

    def manifest(self, key):
        """Return what an artifact's version consists of, as the client reads it."""
        contents = {}
        for path, content in self.files(key).items():
            if isinstance(content, str):
                contents[path] = {"digest": "d", "ref": content}
            else:
                digest = base64.b64encode(hashlib.md5(content).digest()).decode()
                contents[path] = {"digest": digest, "size": len(content)}
        policy = {"storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {"storageLayout": "V2"}}
        return {"version": 1, **policy, "contents": contents}

    def artifact_file(self, path):
        """Return a file of an artifact by its path below /artifacts."""
        self.downloads.append(path)
        parts = path.split("/")
        return self.files("/".join(parts[:4]))["/".join(parts[4:])]

    def _resumed(self, name):
        """Return what the client asks of a run before it goes on with it."""
        if name not in self.runs:
            return None
        steps = sorted(self.history[name])
        tail = json.dumps([json.dumps(self.history[name][step]) for step in steps[-1:]])
        bucket = {"id": f"b-{name}", "name": name, "displayName": name, "config": self.runs[name].get("config", "{}")}
        bucket |= {"summaryMetrics": json.dumps(self.summary.get(name, {})), "tags": [], "notes": ""}
        bucket |= {"historyLineCount": len(steps), "historyTail": tail, "eventsLineCount": 0, "eventsTail": "[]"}
        bucket |= {"logLineCount": 0, "wandbConfig": "{}"}
        return {"id": "p1", "name": "orbits", "entity": {"id": "e1", "name": "me"}, "bucket": bucket}

    def stream(self, run, body):
        """Take a part of a run's history and summary."""
        for name, part in body.get("files", {}).items():
            rows = [json.loads(line) for line in part["content"]]
            if name == "wandb-history.jsonl":
                self.history[run] |= {row["_step"]: row for row in rows}
            elif name == "wandb-summary.json":
                self.summary[run] = rows[-1]
        if body.get("complete"):
            self.exit_codes[run] = body["exitcode"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _answer(self):
        server = self.server
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        status, answer = 200, {}
        if self.path == "/graphql":
            asked = json.loads(body)
            answer = server.graphql(asked["query"], asked.get("variables") or {})
        elif self.path.endswith("/file_stream"):
            server.stream(self.path.split("/")[-2], json.loads(body))
        elif self.path.startswith("/manifests/"):
            answer = server.manifest(self.path.removeprefix("/manifests/"))
        text = json.dumps(answer).encode()
        if self.path.startswith("/artifacts/"):
            text = server.artifact_file(self.path.removeprefix("/artifacts/"))
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815


@contextmanager
def wandb_server():
    """Run a server for a while."""
    server = WandbServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
