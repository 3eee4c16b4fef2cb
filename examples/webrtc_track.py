"""A WebRTC track whose frames are redirected. `webrtc_camera.py` uses it.

Needs aiortc: pip install 'mggr-tf[edge]' aiortc
"""

import asyncio

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
from av import VideoFrame

from mggr_edge import Redirector


class GazeTrack(MediaStreamTrack):
    kind = "video"

    def __init__(self, source, bundle):
        super().__init__()
        self.source, self.redirector = source, Redirector(bundle)

    async def recv(self):
        frame = await self.source.recv()
        rgb = frame.to_ndarray(format="rgb24")
        result = await asyncio.to_thread(self.redirector.redirect_frame, rgb, float(frame.time))
        made = VideoFrame.from_ndarray(result.frame, format="rgb24")
        made.pts, made.time_base = frame.pts, frame.time_base
        return made


async def answer(offer, bundle):
    peer, relay = RTCPeerConnection(), MediaRelay()

    @peer.on("track")
    def redirect(track):  # without a buffer, frames that arrive too fast are dropped
        peer.addTrack(GazeTrack(relay.subscribe(track, buffered=False), bundle.session()))

    await peer.setRemoteDescription(RTCSessionDescription(**offer))
    await peer.setLocalDescription(await peer.createAnswer())
    return {"sdp": peer.localDescription.sdp, "type": peer.localDescription.type}
