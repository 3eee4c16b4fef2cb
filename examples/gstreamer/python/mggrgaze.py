"""Plugin file of the element `mggrgaze` for gst-launch-1.0; see docs/hosts.md."""

from mggr_edge.runs.gstreamer_element import plugin

__gstelementfactory__ = plugin()
