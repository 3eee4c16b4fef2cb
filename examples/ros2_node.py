"""ROS 2 node: redirect the gaze in images. In a workspace with rclpy: python3 ros2_node.py

The node subscribes to `image` and publishes to `image_redirected` (sensor_msgs/Image).
"""

import numpy as np

from mggr_edge import Bundle, Redirector

COLORS = {"rgb8": ("rgb", 3), "bgr8": ("bgr", 3), "rgba8": ("rgb", 4), "bgra8": ("bgr", 4)}
COLORS["mono8"] = ("gray", 1)


def pixels_of(message):
    """Return a copy of the data of an image message, a view of its pixels, and their format."""
    if message.encoding not in COLORS:
        raise ValueError(f"encoding {message.encoding!r}; expected one of {', '.join(COLORS)}")
    color, channels = COLORS[message.encoding]
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step).copy()
    view = rows[:, : message.width * channels].reshape(message.height, message.width, channels)
    return rows, view[..., 0] if color == "gray" else view[..., :3], color


def redirect_message(message, redirector):
    """Replace the data of an image message by the redirected image. The header stays."""
    stamp = message.header.stamp
    rows, view, color = pixels_of(message)
    redirector.redirect_frame(view, stamp.sec + 1e-9 * stamp.nanosec, color=color, out=view)
    message.data = rows.tobytes()
    return message


def main():
    import rclpy
    from rclpy.node import Node
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    rclpy.init()
    node, redirector = Node("mggr_gaze"), Redirector(Bundle.open("default"))
    publisher = node.create_publisher(Image, "image_redirected", qos_profile_sensor_data)

    def received(message):
        publisher.publish(redirect_message(message, redirector))

    # The sensor profile keeps only the newest images, so the node does not lag behind a camera.
    node.create_subscription(Image, "image", received, qos_profile_sensor_data)
    rclpy.spin(node)


if __name__ == "__main__":
    main()
