"""n8n as a process of its own, on 127.0.0.1 and in a database of its own, with the workflows that tests need."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import psycopg
from psycopg.conninfo import conninfo_to_dict

from servers import free_port

TOP = Path(__file__).parents[2]
_HOME = TOP / ".venv/n8n"
_NOWHERE = "http://127.0.0.1:9"
_PASSWORD = "Correct-horse-1"

# Nothing leaves this machine: no telemetry, no version check, no templates, no licence renewal.
_SILENT = {
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_DIAGNOSTICS_CONFIG_FRONTEND": "",
    "N8N_DIAGNOSTICS_CONFIG_BACKEND": "",
    "N8N_DIAGNOSTICS_POSTHOG_API_KEY": "",
    "N8N_DIAGNOSTICS_POSTHOG_API_HOST": _NOWHERE,
    "EXTERNAL_FRONTEND_HOOKS_URLS": "",
    "N8N_SENTRY_DSN": "",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_ENDPOINT": _NOWHERE,
    "N8N_TEMPLATES_ENABLED": "false",
    "N8N_TEMPLATES_HOST": _NOWHERE,
    "N8N_COMMUNITY_PACKAGES_ENABLED": "false",
    "N8N_LICENSE_AUTO_RENEW_ENABLED": "false",
    "N8N_LICENSE_SERVER_URL": _NOWHERE,
    "N8N_AI_ASSISTANT_BASE_URL": "",
    "N8N_HIRING_BANNER_ENABLED": "false",
    "N8N_PERSONALIZATION_ENABLED": "false",
    "N8N_ONBOARDING_FLOW_DISABLED": "true",
    "N8N_DISABLE_UI": "true",
    # Newer ones than 1.60 would start a process for Code nodes.
    "N8N_RUNNERS_ENABLED": "false",
    "N8N_RUNNERS_DISABLED": "true",
}


def missing() -> str | None:
    """Why n8n cannot be started here; None where it can."""
    if not (_HOME / "installed.json").exists() or not (_HOME / "node").exists():
        return "n8n is not installed: make test-n8n, or scripts/n8n_parts.py"
    return None


@dataclass(frozen=True)
class Execution:
    """One run of a workflow: what n8n recorded of the request."""

    headers: dict[str, str]
    body: Any


def _decoded(text: str) -> Any:
    """What n8n's ``flatted`` wrote: an array of values in which a string within a value is the index of another."""
    values: list[Any] = json.loads(text)
    made: dict[int, Any] = {}

    def inner(part: Any) -> Any:
        return value(int(part)) if isinstance(part, str) else part

    def value(index: int) -> Any:
        if index in made:
            return made[index]
        held: Any = values[index]
        # Known before it is filled, for it may hold itself.
        if isinstance(held, dict):
            table: dict[str, Any] = {}
            made[index] = table
            for key, part in cast("dict[str, Any]", held).items():
                table[key] = inner(part)
        elif isinstance(held, list):
            row: list[Any] = []
            made[index] = row
            for part in cast("list[Any]", held):
                row.append(inner(part))
        else:
            made[index] = held
        return made[index]

    return value(0)


class N8n:
    """A running n8n with an owner who is logged in."""

    def __init__(self, folder: Path, dsn: str, **variables: str) -> None:
        """``dsn`` is the URI of an empty database for n8n alone; ``variables`` are n8n's own, beside the usual."""
        self.dsn = dsn
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._cookie = ""
        to = conninfo_to_dict(dsn)
        # Nothing of the caller's environment: a proxy or an N8N_ variable there would change what is tested.
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "N8N_USER_FOLDER": str(folder),
            "N8N_ENCRYPTION_KEY": "for-tests-only",
            "N8N_LISTEN_ADDRESS": "127.0.0.1",
            "N8N_HOST": "127.0.0.1",
            "N8N_PORT": str(self.port),
            "N8N_LOG_LEVEL": "warn",
            "N8N_GRACEFUL_SHUTDOWN_TIMEOUT": "5",
            "DB_TYPE": "postgresdb",
            "DB_POSTGRESDB_HOST": str(to.get("host", "127.0.0.1")),
            "DB_POSTGRESDB_PORT": str(to.get("port", 5432)),
            "DB_POSTGRESDB_DATABASE": str(to["dbname"]),
            "DB_POSTGRESDB_USER": str(to.get("user", "postgres")),
            "DB_POSTGRESDB_PASSWORD": str(to.get("password", "")),
            **_SILENT,
            **variables,
        }
        self.start()
        try:
            self._become_owner()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Starts it, after :meth:`close` at the same place; returns before it is ready."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command("start"),
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def _log(self) -> Path:
        return self._folder / "n8n.log"

    @staticmethod
    def _command(*arguments: str) -> list[str]:
        return [str(_HOME / "node"), str(_HOME / "node_modules/n8n/bin/n8n"), *arguments]

    def command_line(self, *arguments: str) -> str:
        """Runs n8n's own command line on the same database; what it printed."""
        done = subprocess.run(
            self._command(*arguments), cwd=self._folder, env=self._env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=90,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _become_owner(self) -> None:
        deadline = time.monotonic() + 120
        owner = {"email": "owner@example.com", "firstName": "Test", "lastName": "Owner", "password": _PASSWORD}
        # It listens before its routes are there, and says 200 to everything while it migrates its database.
        while not (answered := self.request("POST", "/rest/owner/setup", owner))[1].startswith(b'{"data"'):
            assert self._process.poll() is None, f"n8n ended: {self.log()}"
            assert time.monotonic() < deadline, f"n8n did not start within 120 s: {answered} {self.log()}"
            time.sleep(0.1)

    def log(self) -> str:
        """The end of what n8n printed."""
        return self._log.read_text()[-4000:]

    def kill(self) -> None:
        """As when the machine takes its memory away."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def cpu_s(self) -> float:
        """Processor time that n8n has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # n8n's REST API, the one that its editor uses.

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of an answer; status 0 without one. Bytes are sent as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"{self.url}{path}", data, method=method)
        asked.add_header("Content-Type", "application/json")
        for name, value in {**({"Cookie": self._cookie} if self._cookie else {}), **(headers or {})}.items():
            asked.add_header(name, value)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                if cookie := answer.headers.get("Set-Cookie"):
                    self._cookie = cookie.split(";")[0]
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    def data(self, method: str, path: str, body: Any = None) -> Any:
        """What n8n's editor would get."""
        status, answer = self.request(method, path, body)
        assert status == 200, (method, path, status, answer)
        return json.loads(answer)["data"]

    def add(self, workflow: dict[str, Any]) -> "Flow":
        """Makes a workflow and activates it."""
        made = self.data("POST", "/rest/workflows", {"active": False, "settings": {}, **workflow})
        return self.activated(made["id"])

    def activated(self, flow_id: str) -> "Flow":
        """The workflow of that id, which is active from now on."""
        made = self.data("GET", f"/rest/workflows/{flow_id}")
        path = next(node["parameters"]["path"] for node in made["nodes"] if node["type"] == "n8n-nodes-base.webhook")
        flow = Flow(self, flow_id, made["versionId"], path)
        flow.activate()
        return flow

    def header_credential(self, name: str, value: str) -> dict[str, Any]:
        """Makes a Header Auth credential; what a Webhook node names it by."""
        about = {"name": f"header {name}", "type": "httpHeaderAuth", "data": {"name": name, "value": value}}
        made = self.data("POST", "/rest/credentials", about)
        return {"httpHeaderAuth": {"id": made["id"], "name": made["name"]}}


class Flow:
    """A workflow in n8n."""

    def __init__(self, n8n: N8n, flow_id: str, version: str, path: str) -> None:
        self._n8n = n8n
        self.id = flow_id
        self._version = version
        self.path = f"/webhook/{path}"
        self.url = f"{n8n.url}{self.path}"

    def _change(self, **fields: Any) -> None:
        changed = self._n8n.data("PATCH", f"/rest/workflows/{self.id}", {"versionId": self._version, **fields})
        self._version = changed["versionId"]

    def activate(self) -> None:
        self._change(active=True)
        self.wait()

    def wait(self) -> None:
        """Returns when its webhook answers, which is a little after n8n says that it is active."""
        deadline = time.monotonic() + 60
        while self._n8n.request("OPTIONS", self.path)[0] != 204:
            assert time.monotonic() < deadline, f"{self.path} does not answer"
            time.sleep(0.05)

    def deactivate(self) -> None:
        self._change(active=False)

    def post(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """What n8n answers to this POST."""
        return self._n8n.request("POST", self.path, body, headers)

    def counts(self) -> Counter[str]:
        """How many executions have which status."""
        with psycopg.connect(self._n8n.dsn) as connection:
            rows = connection.execute(
                'select status, count(*) from execution_entity where "workflowId" = %s group by 1', (self.id,)
            )
            return Counter(dict(rows.fetchall()))

    def executions(self) -> list[Execution]:
        """Those that succeeded, with what the Webhook node gave to the others, from n8n's own tables."""
        return [
            Execution(run["headers"], run["body"])
            for run in (
                data["resultData"]["runData"]["Webhook"][0]["data"]["main"][0][0]["json"]
                for data in self._of("success")
            )
        ]

    def errors(self) -> list[str]:
        """The messages of those that failed."""
        return [data["resultData"]["error"]["message"] for data in self._of("error")]

    def _of(self, status: str) -> list[Any]:
        with psycopg.connect(self._n8n.dsn) as connection:
            rows = connection.execute(
                'select d.data from execution_entity e join execution_data d on d."executionId" = e.id'
                ' where e."workflowId" = %s and e.status = %s order by e.id',
                (self.id, status),
            ).fetchall()
        return [_decoded(data) for (data,) in rows]


def node(name: str, kind: str, version: float, left: int, **parameters: Any) -> dict[str, Any]:
    """A node of n8n's own kinds."""
    return {
        "id": str(uuid4()),
        "name": name,
        "type": f"n8n-nodes-base.{kind}",
        "typeVersion": version,
        "position": [left, 0],
        "parameters": parameters,
    }


def workflow(
    mode: str,
    *,
    credential: dict[str, Any] | None = None,
    code: str = "return $input.all();",
    work: dict[str, Any] | None = None,
    status: int = 200,
    **webhook_options: Any,
) -> dict[str, Any]:
    """A Webhook node that responds ``onReceived`` or by ``lastNode`` or ``responseNode``, and a Code node, or other work."""
    path = f"qctl-{uuid4().hex[:12]}"
    webhook = node("Webhook", "webhook", 2, 0, httpMethod="POST", path=path, responseMode=mode, options=webhook_options)
    webhook["webhookId"] = str(uuid4())
    if credential:
        webhook["parameters"]["authentication"] = "headerAuth"
        webhook["credentials"] = credential
    nodes = [webhook, work or node("Work", "code", 2, 220, jsCode=code)]
    if mode == "responseNode":
        nodes.append(
            node(
                "Respond",
                "respondToWebhook",
                1.1,
                440,
                respondWith="text",
                responseBody="done",
                options={"responseCode": status},
            )
        )
    links = {
        before["name"]: {"main": [[{"node": after["name"], "type": "main", "index": 0}]]}
        for before, after in pairwise(nodes)
    }
    return {"name": path, "nodes": nodes, "connections": links}
