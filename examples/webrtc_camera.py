"""Redirect the webcam of a browser with WebRTC: python webrtc_camera.py [PORT]

Then open http://127.0.0.1:8765 in a browser. Needs aiortc: pip install 'mggr-tf[edge]' aiortc
"""

import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from webrtc_track import answer

from mggr_edge import Bundle

PAGE = Path(__file__).with_name("webrtc_camera.html")


def serve(port):
    loop, bundle = asyncio.new_event_loop(), Bundle.open("default")
    threading.Thread(target=loop.run_forever, daemon=True).start()

    class Handler(BaseHTTPRequestHandler):
        def reply(self, content, kind):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self):
            self.reply(PAGE.read_bytes(), "text/html")

        def do_POST(self):
            offer = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made = asyncio.run_coroutine_threadsafe(answer(offer, bundle), loop).result()
            self.reply(json.dumps(made).encode(), "application/json")

    print(f"open http://127.0.0.1:{port}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
