"""A network of its own whose name server changes its mind: run as ``unshare -n -m python rebinding.py FOLDER COMMAND…``.

Every name has the addresses of the next line of FOLDER/answers at each look-up. What arrives by HTTP on 127.0.0.1:8080 is
written to FOLDER/arrived, what is asked of the name server to FOLDER/asked. No packet can leave: there is only loopback.
"""

import socket
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


def serve_names(folder: Path) -> None:
    """Answers A questions with the next line's addresses, others with none."""
    lines = [line.split() for line in (folder / "answers").read_text().splitlines()]
    asked = folder / "asked"
    asked.touch()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def run() -> None:
        while True:
            question, client = server.recvfrom(512)
            end = question.index(b"\0", 12) + 5
            kind = struct.unpack(">H", question[end - 4 : end - 2])[0]
            before = sum(line.startswith("1 ") for line in asked.read_text().splitlines())
            addresses = lines[before % len(lines)] if kind == 1 else []
            with asked.open("a") as file:
                file.write(f"{kind} {' '.join(addresses)}\n")
            records = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(address) for address in addresses)
            head = question[:2] + b"\x81\x80\0\1" + struct.pack(">H", len(addresses)) + b"\0\0\0\0"
            server.sendto(head + question[12:end] + records, client)

    threading.Thread(target=run, daemon=True).start()


def serve_requests(folder: Path) -> None:
    """Notes whatever arrives."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with (folder / "arrived").open("a") as file:
                file.write(f"{self.path}\n")
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """The file is the log."""

    server = HTTPServer(("127.0.0.1", 8080), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> None:
    """Sets the network up and runs the command in it."""
    folder = Path(sys.argv[1])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", str(folder / "resolv.conf"), "/etc/resolv.conf"], check=True)
    serve_names(folder)
    serve_requests(folder)
    sys.exit(subprocess.run(sys.argv[2:], check=False).returncode)


if __name__ == "__main__":
    main()
