"""A running qctl web, and one client of it."""

import http.client
import re
import subprocess
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u202e\x1b[31m"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str


@dataclass
class Window:
    """A running ``qctl web`` and one client of it, which keeps cookies as a browser would."""

    process: subprocess.Popen
    url: str
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return urlsplit(self.url).netloc

    def ask(self, method: str, path: str, body: str | bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", int(self.place.rpartition(":")[2]), timeout=20)
        sent = {"host": self.place, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent.setdefault("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        data = body.encode() if isinstance(body, str) else body
        if data is not None:
            sent.setdefault("content-length", str(len(data)))
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        found = {name.lower(): value for name, value in answer.getheaders()}
        if "set-cookie" in found:
            name, _, value = found["set-cookie"].partition(";")[0].partition("=")
            self.cookies[name] = value
        connection.close()
        return Answer(answer.status, found, text)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, values: dict[str, str], **headers: str) -> Answer:
        form = {"origin": f"http://{self.place}", "content_type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, urlencode(values), **{**form, **headers})

    def done(self, path: str, values: dict[str, str]) -> str:
        """The page that an act leads to."""
        answer = self.post(path, values)
        assert answer.status == 303, answer.body
        return self.get(answer.headers["location"]).body

    def form(self, path: str) -> dict[str, str]:
        """The hidden fields of the form on a page."""
        page = self.get(path)
        assert page.status == 200, page.body
        return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.body))
